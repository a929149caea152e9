//! The fence on the real kernel: frames in, frames out, in a network namespace of each story's own.
//!
//! A story runs in a child of this program, which first moves into a new namespace: as root by
//! itself, as an ordinary user behind a user namespace. There a gateway with three ports stands;
//! their far ends are packet sockets, which play clients, servers and the peer. The program is
//! also its own keeper, as the daemon is.
//!
//! Silence is never waited for: a question that must stay unanswered is followed by one that is
//! answered, on the same wire.
//!
//! Run one story: `cargo test -p steadfast --test fence -- NAME`. Limit: where the kernel refuses
//! namespaces or nf_tables the stories are "not run", and say so.

#![expect(
    clippy::unwrap_used,
    reason = "a test program without harness: a panic is a verdict"
)]

#[path = "fence/changed.rs"]
mod changed;
#[path = "fence/frames.rs"]
mod frames;
#[path = "fence/guarded.rs"]
mod guarded;
#[path = "fence/lease.rs"]
mod lease;
#[path = "fence/life.rs"]
mod life;
#[path = "fence/output.rs"]
mod output;
#[path = "fence/packets.rs"]
mod packets;
#[path = "fence/sources.rs"]
mod sources;
#[path = "fence/sys.rs"]
mod sys;
#[path = "fence/unheard.rs"]
mod unheard;
#[path = "fence/user.rs"]
mod user;
#[path = "fence/world.rs"]
mod world;

use std::process::{Command, ExitCode, Stdio};

use steadfast::linux::fence::{KEEPER_ARGUMENT, keeper_main};

/// The exit code of a story that could not be played here.
const NOT_RUN: u8 = 77;
const STORY_ARGUMENT: &str = "story";
const HOLD_ARGUMENT: &str = "hold";

type Story = (&'static str, fn());

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let stories = || {
        [
            lease::STORIES,
            packets::STORIES,
            life::STORIES,
            output::STORIES,
            sources::STORIES,
            unheard::STORIES,
            changed::STORIES,
        ]
        .concat()
    };
    match words[..] {
        [KEEPER_ARGUMENT] => keeper_main(),
        [HOLD_ARGUMENT, folder] => life::hold(folder),
        [STORY_ARGUMENT, name] => play(&stories(), name),
        _ => run(&stories(), &words),
    }
}

/// What a story is called where the fence is that of kernels without netdev egress.
const WITHOUT_EGRESS: &str = "_without_egress";
/// Stories about packet sockets, whose frames that fence does not see, or about its own hooks.
const EGRESS_ALONE: [&str; 6] = [
    "guard_",
    "fence_own_frames",
    "fence_router_advertisements",
    "life_missing_port",
    "output_",
    "source",
];

/// Every story, and those that hold of both forms of the fence once more.
fn names(stories: &[Story]) -> Vec<String> {
    let both = |name: &str| !EGRESS_ALONE.iter().any(|one| name.starts_with(one));
    let again = stories.iter().filter(|(name, _)| both(name));
    let again = again.map(|(name, _)| format!("{name}{WITHOUT_EGRESS}"));
    let plain = stories.iter().map(|(name, _)| (*name).to_owned());
    plain.chain(again).collect()
}

/// Runs every story whose name holds the first plain argument, each in its own process.
fn run(stories: &[Story], words: &[&str]) -> ExitCode {
    let wanted = words.iter().find(|word| !word.starts_with('-'));
    let mut chosen = names(stories);
    chosen.retain(|name| wanted.is_none_or(|wanted| name.contains(wanted)));
    if words.contains(&"--list") {
        if !words.contains(&"--ignored") {
            chosen.iter().for_each(|name| println!("{name}: test"));
        }
        return ExitCode::SUCCESS;
    }
    let mut failed_count = 0;
    for name in &chosen {
        let story = name.strip_suffix(WITHOUT_EGRESS);
        let form = if story.is_some() { "output" } else { "auto" };
        let child = Command::new("/proc/self/exe")
            .args([STORY_ARGUMENT, story.unwrap_or(name)])
            .env(world::FORM, form)
            .stdin(Stdio::null())
            .output()
            .expect("this program runs");
        let said = [child.stdout, child.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        match child.status.code() {
            Some(0) => println!("test {name} ... ok\n{said}"),
            Some(code) if code == i32::from(NOT_RUN) => {
                println!("test {name} ... NOT RUN: needs {said}");
            }
            _ => {
                failed_count += 1;
                println!("test {name} ... FAILED\n{said}");
            }
        }
    }
    println!("{failed_count} failed");
    ExitCode::from(u8::from(failed_count > 0))
}

fn play(stories: &[Story], name: &str) -> ExitCode {
    if let Err(why) = sys::enter_namespace() {
        println!("network namespaces ({why})");
        return ExitCode::from(NOT_RUN);
    }
    let (_, story) = stories
        .iter()
        .find(|(found, _)| *found == name)
        .expect("a story of this name");
    story();
    ExitCode::SUCCESS
}
