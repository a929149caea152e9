//! The command as pipelines see it: exit codes, streams, and the files that it leaves.
//!
//! Runs the built binary in a folder of its own, on small scenario files that pass, fail, or tell
//! nothing. What the text looks like in detail is the matter of the tests beside the code.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::{env, fs, process};

/// Scenario files of these tests.
fn data(name: &str) -> String {
    let package = env::var_os("CARGO_MANIFEST_DIR");
    let package = package.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.join("tests/data").join(name).display().to_string()
}

/// A folder of its own, gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("steadfast-command-{}-{name}", process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap_or_else(|why| panic!("{name}: {why}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn steadfast(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    command
        .args(args)
        .current_dir(env::temp_dir())
        .env("NO_COLOR", "1");
    command.output().unwrap()
}

fn code(output: &Output) -> i32 {
    output
        .status
        .code()
        .unwrap_or_else(|| panic!("killed: {output:?}"))
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Whoever asks is told every verb and what the exit codes mean.
#[test]
fn command_help_names_verbs_and_exit_codes() {
    let output = steadfast(&["--help"]);
    assert_eq!(code(&output), 0);
    let text = out(&output);
    for verb in [
        "check", "list", "qualify", "replay", "report", "run", "schema", "sweep",
    ] {
        assert!(
            text.lines().any(|line| line.trim().starts_with(verb)),
            "{verb}: {text}"
        );
        assert_eq!(code(&steadfast(&[verb, "--help"])), 0, "{verb}");
    }
    for line in ["0  pass", "1  fail", "2  unknown", "3  usage"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert_eq!(code(&steadfast(&["--version"])), 0);
}

/// The four exit codes of a run, each with what explains it.
#[test]
fn command_run_exit_code_follows_the_verdict() {
    let passed = steadfast(&["run", &data("passes.toml")]);
    assert_eq!(code(&passed), 0, "{}", out(&passed));
    let failed = steadfast(&["run", &data("fails.toml"), "--seed", "3"]);
    assert_eq!(code(&failed), 1, "{}", out(&failed));
    let file = data("fails.toml");
    let repeat = format!("repeat: steadfast run {file} --world fast --seed 3");
    assert!(out(&failed).contains(&repeat), "{}", out(&failed));
    assert!(out(&failed).contains("outage: out: "), "{}", out(&failed));
    let unknown = steadfast(&["run", &data("unknown.toml")]);
    assert_eq!(code(&unknown), 2, "{}", out(&unknown));
    let missing = steadfast(&["run", "no-such-scenario"]);
    assert_eq!(code(&missing), 3);
    assert!(
        err(&missing).contains("failed to find a scenario"),
        "{}",
        err(&missing)
    );
}

/// What is not run passes, unless proof is asked for.
#[test]
fn command_run_not_run_passes_unless_strict() {
    let file = data("skipped.toml");
    let plain = steadfast(&["run", &file]);
    assert_eq!(code(&plain), 0);
    assert!(
        out(&plain).contains("not run  skipped: needs a real kernel"),
        "{}",
        out(&plain)
    );
    assert_eq!(code(&steadfast(&["run", &file, "--strict"])), 2);
}

/// Wrong usage is never taken for a verdict.
#[test]
fn command_usage_errors_exit_with_three() {
    for args in [
        &["fly"][..],
        &["run"],
        &["run", "a", "--all"],
        &["run", "--all", "--seed", "1", "--seeds", "0..2"],
        &["run", "--all", "--world", "moon"],
        &["run", "--all", "--seeds", "0..99999999"],
        &["sweep"],
        &["sweep", "--seeds", "5..5"],
        &["sweep", "--seeds", "0..9", "--jobs", "0"],
        &["check"],
        &["check", "/no/such/file.toml"],
        &["replay", "/no/such/trace.jsonl"],
    ] {
        let output = steadfast(args);
        assert_eq!(code(&output), 3, "{args:?}: {}", err(&output));
        assert!(!err(&output).is_empty(), "{args:?} says nothing");
    }
}

/// A wrong word is shown with its file, its line, a caret, and the word that was meant.
#[test]
fn command_check_shows_file_line_and_suggestion() {
    let file = data("misspelt.toml");
    let output = steadfast(&["check", &file, &data("passes.toml")]);
    assert_eq!(code(&output), 1);
    assert!(
        out(&output).ends_with("2 files, 1 wrong\n"),
        "{}",
        out(&output)
    );
    let text = err(&output);
    let shown = [
        "misspelt.toml:11:1",
        "unknown key `targt`",
        "did you mean `target`?",
        "here",
    ];
    for part in shown {
        assert!(text.contains(part), "{part}: {text}");
    }
    let run = steadfast(&["run", &file]);
    assert_eq!(code(&run), 3);
    assert!(
        err(&run).contains("did you mean `target`?"),
        "{}",
        err(&run)
    );
}

/// A folder is read with all below it; two files of one name could not be told apart in reports.
#[test]
fn command_check_folder_finds_doubled_names_and_nothing() {
    let folder = Folder::new("check");
    assert_eq!(
        code(&steadfast(&["check", &folder.path("")])),
        2,
        "nothing was checked"
    );
    fs::create_dir_all(folder.path("below")).unwrap();
    let text = fs::read_to_string(data("passes.toml")).unwrap();
    fs::write(folder.path("one.toml"), &text).unwrap();
    assert_eq!(code(&steadfast(&["check", &folder.path("")])), 0);
    fs::write(folder.path("below/two.toml"), &text).unwrap();
    let output = steadfast(&["check", &folder.path("")]);
    assert_eq!(code(&output), 1, "{}", out(&output));
    assert!(
        err(&output).contains("the name `passes` is taken by"),
        "{}",
        err(&output)
    );
}

/// The same runs leave the same bytes, whoever runs them, where, and with how many threads.
#[test]
fn command_run_traces_are_equal_between_processes() {
    let folder = Folder::new("traces");
    let file = data("passes.toml");
    let run = |traces: &str, jobs: &str| {
        let path = folder.path(traces);
        let args = [
            "run", &file, "--seeds", "0..4", "--jobs", jobs, "--traces", &path,
        ];
        assert_eq!(code(&steadfast(&args)), 0);
    };
    run("here", "1");
    run("there", "3");
    let names = listing(&folder.0.join("here"));
    let seeds = (0..4).map(|seed| format!("passes-{seed}.trace.jsonl"));
    let expected: Vec<_> = seeds
        .chain(["passes.toml", "summary.json"].map(str::to_owned))
        .collect();
    assert_eq!(names, expected);
    assert_eq!(listing(&folder.0.join("there")), expected);
    for name in names {
        let [here, there] = ["here", "there"].map(|it| folder.text(&format!("{it}/{name}")));
        assert!(here == there, "{name} differs");
    }
    assert!(
        !folder.text("here/summary.json").contains(&folder.path("")),
        "a path"
    );
}

fn listing(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

/// A stored run is judged as it was; a byte changed in its trace or a word in its record is found.
#[test]
fn command_replay_finds_what_was_changed() {
    let folder = Folder::new("replay");
    for name in ["passes", "fails"] {
        steadfast(&[
            "run",
            &data(&format!("{name}.toml")),
            "--traces",
            &folder.path(name),
        ]);
        let trace = folder.path(&format!("{name}/{name}-0.trace.jsonl"));
        let output = steadfast(&["replay", &trace]);
        assert_eq!(code(&output), 0, "{}{}", out(&output), err(&output));
        assert_eq!(
            out(&output).matches(", as recorded\n").count(),
            2,
            "{}",
            out(&output)
        );
    }
    let trace = folder.path("passes/passes-0.trace.jsonl");
    let text = folder.text("passes/passes-0.trace.jsonl");
    fs::write(&trace, text.clone() + "\n").unwrap();
    let output = steadfast(&["replay", &trace]);
    assert_eq!(code(&output), 1, "{}", out(&output));
    assert!(out(&output).contains("NOT AS RECORDED"), "{}", out(&output));
    fs::write(&trace, &text).unwrap();
    let summary = folder.text("passes/summary.json");
    let lie = summary.replace("\"verdict\": \"pass\"", "\"verdict\": \"fail\"");
    assert_ne!(lie, summary);
    fs::write(folder.path("passes/summary.json"), lie).unwrap();
    assert_eq!(code(&steadfast(&["replay", &trace])), 1);
    fs::remove_file(folder.path("passes/summary.json")).unwrap();
    assert_eq!(
        code(&steadfast(&["replay", &trace])),
        2,
        "nothing to compare with"
    );
    fs::write(&trace, text.split_once('\n').unwrap().1).unwrap();
    assert_eq!(
        code(&steadfast(&["replay", &trace])),
        3,
        "a trace of nothing"
    );
}

/// What the command prints for tools is JSON and nothing else, with the keys that tools know.
#[test]
fn command_json_goes_alone_to_stdout() {
    let run = steadfast(&["run", &data("fails.toml"), "--json"]);
    assert_eq!(code(&run), 1);
    let json: serde_json::Value = serde_json::from_str(&out(&run)).unwrap();
    assert_eq!(json["results"][0]["verdict"], "fail");
    assert_eq!(json["results"][0]["scenario"], "fails");
    let schema = steadfast(&["schema"]);
    assert_eq!(code(&schema), 0);
    let json: serde_json::Value = serde_json::from_str(&out(&schema)).unwrap();
    assert!(json["properties"]["step"].is_object(), "{json}");
}

/// A sweep counts the same with one thread and with several; the time alone may differ.
#[test]
fn command_sweep_does_not_depend_on_threads() {
    let sweep = |jobs: &str| {
        let args = [
            "sweep", "--world", "fast", "--seeds", "0..12", "--json", "--jobs", jobs,
        ];
        let output = steadfast(&args);
        let mut json: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
        let time = json.as_object_mut().unwrap().remove("cpu_s");
        assert!(time.is_some_and(|time| time.as_f64() > Some(0.0)));
        json
    };
    let one = sweep("1");
    assert_eq!(one["runs"], 12);
    assert!(one["armed"]["at_most_one_active"].is_number(), "{one}");
    assert_eq!(one, sweep("3"));
}

/// A sweep may take hours, and a build replaces its program meanwhile: the runs that are played
/// again are played by the program that played them first.
#[test]
fn command_sweep_outlives_its_program_file() {
    let folder = Folder::new("replaced");
    let program = folder.path("steadfast");
    fs::copy(env!("CARGO_BIN_EXE_steadfast"), &program).unwrap();
    let mut sweep = Command::new(&program);
    sweep.args(["sweep", "--seeds", "0..60", "--json"]);
    let sweep = sweep.stdout(Stdio::piped()).stderr(Stdio::piped());
    let sweep = sweep.spawn().unwrap();
    fs::remove_file(&program).unwrap();
    let output = sweep.wait_with_output().unwrap();
    assert_eq!(code(&output), 0, "{}", err(&output));
    let json: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(json["runs"], 60);
    assert!(json["audited_runs"].as_u64() > Some(0), "{json}");
}

/// The built-in files are found from anywhere, by the names that the list gives.
#[test]
fn command_list_names_what_run_finds() {
    let output = steadfast(&["list"]);
    assert_eq!(code(&output), 0);
    let text = out(&output);
    let name = text.split_whitespace().next().unwrap();
    let run = steadfast(&["run", name, "--json"]);
    let json: serde_json::Value = serde_json::from_str(&out(&run)).unwrap();
    assert_eq!(json["results"][0]["scenario"], name);
}

/// A folder with other people's data is never taken for an old report.
#[test]
fn command_qualify_spares_a_folder_that_is_no_report() {
    let folder = Folder::new("qualify");
    fs::create_dir_all(folder.path("failures")).unwrap();
    fs::write(folder.path("failures/thesis.txt"), "years of work").unwrap();
    let output = steadfast(&["qualify", "--report", &folder.path("")]);
    assert_eq!(code(&output), 3, "{}", out(&output));
    assert!(
        err(&output).contains("choose another --report"),
        "{}",
        err(&output)
    );
    assert_eq!(folder.text("failures/thesis.txt"), "years of work");
}
