//! The recorder: exact replays, found damage, counted losses, bounded files.

pub(crate) mod pair;

use std::fs;

use steadfast_core::effect::Input;
use steadfast_core::role::EffectiveRole;

use super::*;
use crate::store::tests::Scratch;
use pair::{config, keys, origin_boot};

/// A standby's whole life, from its start over its peer's death to its own end.
fn record_a_takeover(settings: &Settings) {
    let mut pair = pair::Pair::new(settings.clone());
    pair.run_until(Instant::from_millis(11_000));
    assert_eq!(pair.role(0), EffectiveRole::Active);
    assert_eq!(pair.role(1), EffectiveRole::Standby);
    pair.kill(0);
    pair.run_until(Instant::from_millis(12_000));
    assert_eq!(pair.role(1), EffectiveRole::Active);
    pair.shut_down(1);
    assert!(pair.close(), "the disk answers");
}

fn only_life(folder: &std::path::Path) -> Life {
    let mut reading = read(folder).expect("a directory");
    assert_eq!((reading.lives.len(), reading.unreadable.len()), (1, 0));
    reading.lives.remove(0)
}

/// A recorded life comes out of a fresh node again, bit for bit; one changed byte in one recorded
/// frame does not, and the place is named.
#[test]
fn journal_replay_is_exact_and_finds_a_changed_byte() {
    let scratch = Scratch::new("journal");
    let settings = Settings::new(scratch.0.clone());
    record_a_takeover(&settings);
    let mut life = only_life(&scratch.0);
    assert!(life.ended() && life.from_start);
    let examined = examine(&life, &keys(1));
    let Outcome::Equal { inputs, effects } = examined.outcome else {
        panic!("{:?}", examined.outcome);
    };
    assert_eq!(examined.decisions, effects);
    assert_eq!(
        examined.replayed,
        Some(examined.recorded),
        "one hash for both"
    );
    let roles: Vec<EffectiveRole> = examined.roles.iter().map(|turn| turn.role).collect();
    let expected = [
        EffectiveRole::Starting,
        EffectiveRole::Standby,
        EffectiveRole::Promoting,
        EffectiveRole::Active,
        EffectiveRole::Standby,
    ];
    assert_eq!(roles, expected);
    assert!(
        inputs > 500 && effects > 500,
        "{inputs} inputs, {effects} effects"
    );

    // A frame that was answered at once: changed, it does not verify, and nothing answers it.
    let answered = life.entries.windows(2).position(|two| {
        matches!(
            &two[0].what,
            Stored::Input(StoredInput::FrameReceived { .. })
        ) && matches!(&two[1].what, Stored::Effect(_))
    });
    let entry = &mut life.entries[answered.expect("an answered frame")];
    let Stored::Input(StoredInput::FrameReceived { frame, .. }) = &mut entry.what else {
        panic!("{entry:?}");
    };
    *frame.last_mut().expect("bytes") ^= 1;
    let changed = examine(&life, &keys(1));
    let outcome = &changed.outcome;
    assert!(matches!(outcome, Outcome::Differs { .. }), "{outcome:?}");
    assert_ne!(changed.replayed, Some(changed.recorded), "and two hashes");
}

/// Keys of another node cannot replay a life, and no key stands in the files.
#[test]
fn journal_replay_needs_the_right_keys_and_files_hold_none() {
    let scratch = Scratch::new("journal");
    record_a_takeover(&Settings::new(scratch.0.clone()));
    let life = only_life(&scratch.0);
    let outcome = replay(&life, &keys(0));
    assert!(matches!(outcome, Outcome::WrongKeys(_)), "{outcome:?}");
    for (_, path) in files(&scratch.0).expect("files") {
        let bytes = fs::read(path).expect("a file");
        let secret = pair::SECRET;
        assert!(!bytes.windows(secret.len()).any(|window| window == secret));
    }
}

/// One changed byte anywhere in a file is found while reading: no replay believes it.
#[test]
fn journal_changed_byte_in_a_file_is_found() {
    let scratch = Scratch::new("journal");
    let settings = Settings::new(scratch.0.clone());
    record_a_takeover(&settings);
    let (_, path) = files(&scratch.0).expect("files").remove(0);
    let whole = fs::read(&path).expect("a file");
    for offset in (0..40).chain((40..whole.len()).step_by(whole.len() / 97)) {
        let mut changed = whole.clone();
        changed[offset] ^= 0x10;
        fs::write(&path, changed).expect("a changed file");
        let reading = read(&scratch.0).expect("a directory");
        let holes = reading.lives.iter().flat_map(Life::holes).count();
        assert!(
            holes + reading.unreadable.len() == 1,
            "at {offset}: {holes} holes"
        );
    }
}

/// A file cut at any place is read up to there; a cut is no difference.
#[test]
fn journal_torn_tail_is_read_up_to_the_tear() {
    let scratch = Scratch::new("journal");
    let settings = Settings::new(scratch.0.clone());
    record_a_takeover(&settings);
    let (_, path) = files(&scratch.0).expect("files").remove(0);
    let whole = fs::read(&path).expect("a file");
    let entries = only_life(&scratch.0).entries;
    for cut in 1..60 {
        let length = whole.len() - cut;
        fs::write(&path, &whole[..length]).expect("a torn file");
        let life = only_life(&scratch.0);
        let sound = life
            .entries
            .iter()
            .take_while(|e| !matches!(e.what, Stored::Hole(_)));
        assert!(sound.zip(&entries).all(|(a, b)| a == b), "cut by {cut}");
        assert!(
            life.holes().all(|hole| matches!(hole, Hole::Torn { .. })),
            "cut by {cut}"
        );
        assert!(!life.ended(), "cut by {cut}");
    }
    let outcome = replay(&only_life(&scratch.0), &keys(1));
    assert!(matches!(outcome, Outcome::Equal { .. }), "{outcome:?}");
}

/// A program that is about to abort has its last entries on the disk, though nothing closed the
/// recorder and no spacing is over.
#[test]
fn journal_rescue_has_everything_on_the_disk() {
    let scratch = Scratch::new("journal");
    let mut pair = pair::Pair::new(Settings::new(scratch.0.clone()));
    let counters = pair.counters();
    for round in 1..=5 {
        pair.run_until(Instant::from_millis(500 + 20 * round));
        pair.rescue().now();
        assert_eq!(counters.waiting_bytes.load(Ordering::Acquire), 0);
        let entries = only_life(&scratch.0).entries.len() as u64;
        assert_eq!(
            (counters.written_count(), counters.lost_count()),
            (entries, 0)
        );
        assert!(entries > 20, "{entries} entries");
    }
}

/// More than the mailbox holds, at once: the loss is counted, stands in the stream as a gap, and a
/// replay ends there without a verdict on the node.
#[test]
fn journal_overflow_is_counted_and_stands_as_a_gap() {
    let scratch = Scratch::new("journal");
    let (mailbox, waiting) = sync_channel(MAILBOX_ENTRIES_MAX);
    let counters = Arc::new(Counters::default());
    let (finish, done) = sync_channel(1);
    drop(finish);
    let mut recorder = Recorder {
        mailbox: Some(mailbox),
        counters: Arc::clone(&counters),
        done,
        writer: thread::current(),
    };
    let frame = vec![0_u8; 9_000];
    let note = |recorder: &mut Recorder, number: u64| {
        let at = Instant::from_nanos(number);
        let input = Input::FrameReceived {
            port: steadfast_core::PortId(1),
            frame: &frame,
            at,
        };
        recorder.note(at, Entry::Input(&input));
    };
    let notes = 150;
    for number in 0..notes {
        note(&mut recorder, number);
    }
    let lost = counters.lost_count();
    let fit = notes - lost;
    assert!(
        fit >= 110 && fit * 9_018 <= MAILBOX_BYTES_MAX as u64,
        "{fit} fit"
    );
    let first = waiting.recv().expect("an entry");
    counters
        .waiting_bytes
        .fetch_sub(first.body.len(), Ordering::AcqRel);
    note(&mut recorder, notes);
    drop(recorder);
    let origin_boot = origin_boot(1);
    let config = config(1);
    let facts = life_facts(Origin {
        build: "test",
        config: &config,
        text: "",
        boot: &origin_boot,
    });
    let settings = Settings::new(scratch.0.clone());
    writer::Writer::new(settings, facts, Arc::clone(&counters)).run(&waiting);
    let life = only_life(&scratch.0);
    let gaps: Vec<usize> = (0..life.entries.len())
        .filter(|place| life.entries[*place].what == Stored::Gap(lost))
        .collect();
    assert_eq!(
        gaps,
        [usize::try_from(fit - 1).expect("a place")],
        "where it was lost"
    );
    let outcome = replay(&life, &keys(1));
    assert!(
        matches!(outcome, Outcome::Gap { hole: None, .. }),
        "{outcome:?}"
    );
}

/// Small files: the ring keeps its bounds, each file can be read alone, and a life whose beginning
/// was deleted says so.
#[test]
fn journal_ring_keeps_its_bounds_and_says_what_is_gone() {
    let scratch = Scratch::new("journal");
    let settings = Settings {
        folder: scratch.0.clone(),
        file_bytes_max: 32 * 1024,
        files_max: 3,
    };
    record_a_takeover(&settings);
    let files = files(&scratch.0).expect("files");
    assert_eq!(files.len(), 3);
    for (_, path) in &files {
        let length = fs::metadata(path).expect("a file").len();
        assert!(length <= 33 * 1024, "{} has {length} bytes", path.display());
    }
    let life = only_life(&scratch.0);
    assert!(!life.from_start && life.ended() && life.holes().count() == 0);
    assert_eq!(replay(&life, &keys(1)), Outcome::NoStart);
    fs::remove_file(&files[1].1).expect("a file goes");
    let life = only_life(&scratch.0);
    assert_eq!(life.holes().collect::<Vec<_>>(), [&Hole::Missing]);
}

/// Two lives in one directory are told apart; files of others are left alone and named.
#[test]
fn journal_lives_are_told_apart() {
    let scratch = Scratch::new("journal");
    let settings = Settings::new(scratch.0.clone());
    record_a_takeover(&settings);
    let second = Scratch::new("journal");
    let mut pair = pair::Pair::with_lives(Settings::new(second.0.clone()), 2);
    pair.run_until(Instant::from_millis(200));
    assert!(pair.close(), "the disk answers");
    fs::copy(second.0.join(file_name(0)), scratch.0.join(file_name(1))).expect("a copy");
    fs::write(scratch.0.join(file_name(9)), "not ours").expect("a file");
    let reading = read(&scratch.0).expect("a directory");
    assert_eq!((reading.lives.len(), reading.unreadable.len()), (2, 1));
}

/// A disk that refuses everything costs the recording, not the daemon.
#[test]
fn journal_refusing_disk_is_counted() {
    let scratch = Scratch::new("journal");
    let folder = scratch.0.join("file");
    fs::write(&folder, "in the way").expect("a file");
    let mut pair = pair::Pair::new(Settings::new(folder));
    pair.run_until(Instant::from_millis(300));
    let counters = pair.counters();
    assert!(pair.close(), "the thread ends");
    assert_eq!(counters.written_count(), 0);
    assert!(counters.lost_count() > 0 && counters.failure_count() > 0);
}
