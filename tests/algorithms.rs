//! Every algorithm is proved, in and out of place, for every number of ranks that it is defined for.
mod common;
use wgccl::verify;
#[test]
fn proved() {
    for variant in common::variants((1..=17).chain([24, 32, 33, 64])) {
        let schedule = variant.schedule();
        let report = verify::check(&schedule, variant.options());
        assert!(
            report.proofs.iter().all(|proof| proof.ok || proof.proof.is_information()),
            "{variant}\n{report}\n{:?}",
            report.proofs
        );
    }
}
