//! SECURITY.md names a test behind its sentences; those tests exist.

use std::fs;
use std::path::Path;

fn read(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            read(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn the_tests_that_security_names_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let promises = fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let mut code = String::new();
    for directory in ["src", "tests", "cli/src", "cli/tests"] {
        read(&root.join(directory), &mut code);
    }
    // What stands between backticks and is written like a test's name.
    let names = promises.split('`').skip(1).step_by(2);
    let tests: Vec<&str> =
        names.filter(|name| name.matches('_').count() > 1 && !name.contains(['/', ':', '.', ' '])).collect();
    assert!(tests.len() > 20, "{tests:?}");
    for test in tests {
        assert!(code.contains(&format!("fn {test}()")), "SECURITY.md names `{test}`, which is no test");
    }
}
