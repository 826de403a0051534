//! The public API is the one that `xtask/api.txt` lists: whoever changes it sees that, and so does whoever reviews it.

use super::listing;
use crate::root;

#[test]
fn the_public_api_is_the_listed_one() {
    let root = root();
    let listed = std::fs::read_to_string(root.join("xtask/api.txt")).unwrap();
    let found = listing::of(root).unwrap();
    let line = found.lines().zip(listed.lines()).position(|(found, listed)| found != listed);
    let line = line.unwrap_or_else(|| found.lines().count().min(listed.lines().count()));
    let at = |text: &str| text.lines().nth(line).unwrap_or("(end)").trim().to_owned();
    assert!(
        found == listed,
        "the public API has changed in line {} of xtask/api.txt:\n  listed: {}\n  now:    {}\nif that is meant, run: \
         cargo run -p xtask -- api",
        line + 1,
        at(&listed),
        at(&found)
    );
}

/// A small crate: what is private, hidden or for tests is not listed, and what is re-exported is listed where users find it.
#[test]
fn only_what_users_can_name_is_listed() {
    let dir = tempfile::tempdir().unwrap();
    for (file, text) in [
        ("lib.rs", "pub mod a; mod b; #[doc(hidden)] pub mod c; #[cfg(test)] mod d;"),
        (
            "a.rs",
            "mod inner; pub use inner::{Kept, Trait}; pub use std::fmt; use inner::Other;
             /// Words.
             #[derive(Debug)] #[non_exhaustive] pub struct S { pub x: u32, y: u8 }
             impl S { pub fn f(&self) -> u32 { self.x } pub(crate) fn g() {} fn h() {} #[doc(hidden)] pub fn i() {} }
             impl Clone for S { fn clone(&self) -> Self { todo!() } }
             pub(crate) struct Not; struct Neither; #[cfg(test)] mod tests {}",
        ),
        (
            "a/inner.rs",
            "pub struct Kept(u32); pub struct Other; impl Kept { pub const N: u32 = 3; } pub trait Trait { fn t(&self) {} }
             impl Trait for u8 {} impl Trait for Other {} impl Other { pub fn o() {} }",
        ),
        ("b.rs", "pub fn unreachable() {}"),
    ] {
        let path = dir.path().join("src").join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let expected = "\
// wgccl::a

pub struct Kept(_);
pub trait Trait {
    fn t(&self) {}
}
pub use std::fmt;
#[derive(Debug)]
#[non_exhaustive]
pub struct S {
    pub x: u32,
    _private: _,
}
impl S {
    pub fn f(&self) -> u32 {}
}
impl Clone for S {}
impl Kept {
    pub const N: u32 = 3;
}
impl Trait for u8 {}
impl Trait for Other {}

";
    assert_eq!(listing::of(dir.path()).unwrap(), expected);
}
