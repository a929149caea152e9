//! Lines of a secret file, and what a drawn one is.

use proptest::prelude::*;

use super::super::tests::Folder;
use steadfast_core::wire::auth::Phase;

use super::*;

/// A drawn secret reads back as one enforced key of its cluster, and no two are alike.
#[test]
fn secret_generated_file_reads_back() {
    let cluster = ClusterId([7; 16]);
    let folder = Folder::new();
    let first = generate(cluster).expect("random bytes");
    let path = folder.write("secret", first.as_bytes(), 0o600);
    let secrets = read(&path).unwrap_or_else(|faults| panic!("{faults:?}"));
    assert_eq!(secrets.cluster, Some(cluster));
    assert_eq!((secrets.keys.len(), secrets.keys[0].id), (1, 1));
    assert_eq!(secrets.keys[0].phase, Phase::Enforce);
    assert_ne!(*first, *generate(cluster).expect("random bytes"));
}

/// Every bad line of a file is told, with its number.
#[test]
fn secret_bad_lines_are_told_by_number() {
    let folder = Folder::new();
    let text = "# a comment\n1 sometimes 00\n300 enforce 00\nwhat is this\ncluster x\n";
    let path = folder.write("secret", text.as_bytes(), 0o640);
    let Err(faults) = read(&path) else {
        panic!("a bad file was read");
    };
    let told: Vec<String> = faults
        .iter()
        .map(|fault| folder.plain(&fault.message))
        .collect();
    insta::assert_snapshot!(told.join("\n"));
}

/// A pipe or device is refused at once: a start must not wait for somebody to write to it.
#[test]
fn secret_that_is_no_regular_file_is_refused() {
    let Err(faults) = read(Path::new("/dev/zero")) else {
        panic!("a device was read");
    };
    assert!(
        faults[0].message.contains("not a regular file"),
        "{faults:?}"
    );
}

proptest! {
    /// Any bytes are answered, and no message shows them.
    #[test]
    fn secret_any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(Path::new("x"), &bytes);
    }
}
