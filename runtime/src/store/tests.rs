//! The store under torn files, foreign files, full and read-only disks.

use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use steadfast_core::Epoch;
use steadfast_core::boot::BootRecord;
use steadfast_shell::env::Store as _;

use super::*;

/// A directory of this test's own, gone when it ends.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let unique = format!("steadfast-{name}-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(unique);
        fs::create_dir_all(&path).expect("a scratch directory");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::set_permissions(&self.0, Permissions::from_mode(0o700));
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn record(epoch: u64) -> Record {
    let boot = BootRecord {
        kernel_boot: [7; 16],
        uptime_s: 300,
        clean: false,
        pacified: false,
        starts: 2,
    };
    Record {
        boots: vec![boot; 3],
        epoch: Epoch(epoch),
        maintenance: true,
        retired: false,
        restarts: vec![4, 9],
    }
}

fn problems(restored: &Restored) -> Vec<Problem> {
    let notes = restored.notes.iter();
    notes.map(|note| note.problem.clone()).collect()
}

/// A first start finds nothing and has nothing to complain about; what is committed comes back.
#[test]
fn store_record_survives_reopening() {
    let scratch = Scratch::new("store");
    let folder = scratch.0.join("state");
    let (mut store, restored) = FileStore::open(&folder);
    assert_eq!(restored, Restored::default());
    for epoch in 1..=5 {
        store.commit(&record(epoch)).expect("a commit");
        let (_, restored) = FileStore::open(&folder);
        assert_eq!((restored.record, restored.notes.len()), (record(epoch), 0));
    }
    let mode = fs::metadata(&folder).expect("a directory").permissions();
    assert_eq!(mode.mode() & 0o777, 0o700, "closed to others");
}

/// The newest slot cut at every offset: the older record comes back, with a note; the next commit
/// replaces the damaged slot, never the whole one.
#[test]
fn store_torn_at_every_offset_falls_back_to_the_older_slot() {
    let scratch = Scratch::new("store");
    let (mut store, _) = FileStore::open(&scratch.0);
    store.commit(&record(1)).expect("a commit");
    store.commit(&record(2)).expect("a commit");
    let newest = scratch.0.join(SLOTS[1]);
    let whole = fs::read(&newest).expect("the newest slot");
    for length in 0..whole.len() {
        fs::write(&newest, &whole[..length]).expect("a torn slot");
        let (mut store, restored) = FileStore::open(&scratch.0);
        assert_eq!(restored.record, record(1), "cut at {length}");
        let expected = if length == 0 {
            Problem::Empty
        } else {
            Problem::Torn
        };
        assert_eq!(problems(&restored), [expected], "cut at {length}");
        store.commit(&record(3)).expect("a commit");
        let (_, restored) = FileStore::open(&scratch.0);
        assert_eq!((restored.record, restored.notes.len()), (record(3), 0));
        let older = read_slot(&scratch.0.join(SLOTS[0]));
        assert!(
            matches!(older, Slot::Whole { sequence: 1, .. }),
            "cut at {length}"
        );
    }
}

proptest! {
    /// One changed byte anywhere is found; it never gives a record that nobody wrote.
    #[test]
    fn store_changed_byte_is_found(place in 0_usize..10_000, change in 1_u8..) {
        let mut bytes = slot::encode(9, &record(4)).expect("bytes");
        let place = place % bytes.len();
        bytes[place] ^= change;
        let whole = matches!(slot::decode(&bytes), Slot::Whole { .. });
        prop_assert!(!whole);
    }

    /// Any bytes at all are something, and no reason to panic.
    #[test]
    fn store_any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let whole = matches!(slot::decode(&bytes), Slot::Whole { .. });
        prop_assert!(!whole);
    }
}

/// After a step back to an older program and forth again, the newest record is still the newest.
#[test]
fn store_slot_of_a_later_version_keeps_the_order() {
    let scratch = Scratch::new("store");
    let later = "steadfast-record 2 500\nwhatever comes then\n";
    fs::write(scratch.0.join(SLOTS[0]), later).expect("a later slot");
    let (mut store, restored) = FileStore::open(&scratch.0);
    assert_eq!(problems(&restored), [Problem::FutureVersion(2)]);
    assert_eq!(restored.record, Record::default());
    store.commit(&record(1)).expect("a commit");
    store.commit(&record(2)).expect("a commit");
    let newest = read_slot(&scratch.0.join(SLOTS[1]));
    assert!(
        matches!(newest, Slot::Whole { sequence: 502, .. }),
        "{newest:?}"
    );
}

/// Directories, links, other programs' files and giants in a slot's place are left out, not fatal.
#[test]
fn store_foreign_slots_are_left_out() {
    let scratch = Scratch::new("store");
    let giant = vec![b'x'; SLOT_BYTES_MAX + 1];
    fs::write(scratch.0.join(SLOTS[0]), giant).expect("a giant");
    symlink("/dev/zero", scratch.0.join(SLOTS[1])).expect("a link");
    let (_, restored) = FileStore::open(&scratch.0);
    let found = problems(&restored);
    let expected = matches!(&found[..], [Problem::Foreign, Problem::Unreadable(_)]);
    assert!(expected, "{found:?}");
    let text = restored.notes[0].to_string();
    assert!(
        text.ends_with("is no record of this program and was left out"),
        "{text}"
    );
}

/// No room: an error that says so, the last record still there. The file size limit of a process
/// of its own plays the full disk.
#[test]
fn store_full_disk_is_an_error_and_keeps_the_last_record() {
    let scratch = Scratch::new("store");
    let (mut store, _) = FileStore::open(&scratch.0);
    store.commit(&record(1)).expect("a commit");
    let test = std::env::current_exe().expect("this test");
    let inner = format!(
        "trap '' XFSZ; ulimit -f 0; exec '{}' --ignored --exact \
         store::tests::store_inner_full_disk",
        test.display()
    );
    let status = Command::new("sh")
        .args(["-c", &inner])
        .env("STEADFAST_FULL_DISK", &scratch.0)
        .output()
        .expect("a shell");
    assert!(status.status.success(), "{status:?}");
    let (_, restored) = FileStore::open(&scratch.0);
    assert_eq!((restored.record, restored.notes.len()), (record(1), 0));
}

/// The inner half of the test above: runs where no file may grow.
#[test]
#[ignore = "run by store_full_disk_is_an_error_and_keeps_the_last_record"]
fn store_inner_full_disk() {
    let folder = std::env::var_os("STEADFAST_FULL_DISK").expect("run by the outer test");
    let (mut store, _) = FileStore::open(Path::new(&folder));
    let why = store.commit(&record(2)).expect_err("no file may grow");
    assert_eq!(why.kind(), io::ErrorKind::FileTooLarge, "{why}");
}

/// A directory that cannot be written: an error, no panic. An ordinary user needs no trick; root
/// writes anywhere, so there a file in the directory's place refuses.
#[test]
fn store_unwritable_directory_is_an_error() {
    let scratch = Scratch::new("store");
    let folder = if rustix::process::geteuid().is_root() {
        let file = scratch.0.join("file");
        fs::write(&file, "in the way").expect("a file");
        file
    } else {
        fs::set_permissions(&scratch.0, Permissions::from_mode(0o500)).expect("a mode");
        scratch.0.join("state")
    };
    let (mut store, restored) = FileStore::open(&folder);
    assert_eq!(restored.record, Record::default());
    assert!(!restored.notes.is_empty(), "said at the start");
    store
        .commit(&record(1))
        .expect_err("nothing can be written");
}

/// Commits are answered once each, after the newest is durable.
#[tokio::test(flavor = "current_thread")]
async fn store_handle_answers_after_the_record_is_durable() {
    let scratch = Scratch::new("store");
    let (store, _) = FileStore::open(&scratch.0);
    let mut handle = StoreHandle::start(store).expect("a thread");
    for epoch in 1..=3 {
        handle.commit(&record(epoch)).await.expect("a commit");
        let (_, restored) = FileStore::open(&scratch.0);
        assert_eq!(restored.record, record(epoch));
    }
    fs::remove_dir_all(&scratch.0).expect("the directory goes");
    fs::write(&scratch.0, "in the way").expect("a file");
    handle.commit(&record(4)).await.expect_err("no directory");
    handle.close();
    fs::remove_file(&scratch.0).expect("the file goes");
}
