//! `junit.xml`: the same results in the form that build servers show.
//!
//! The form has no standard; this is the part on which Jenkins, GitLab and GitHub's actions agree:
//! suites, cases, and `failure`, `error` or `skipped` inside a case. Unknown is an `error`: it is
//! not the product's failure, and must not be green. No times are written, so equal runs give
//! equal bytes. XML 1.0 cannot carry control characters at all; they become U+FFFD.

use std::fmt::Write as _;

/// A group of cases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Suite {
    /// Its name.
    pub(crate) name: String,
    /// What was run in it.
    pub(crate) cases: Vec<Case>,
}

/// One thing that was run, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    /// Its name, unique in the suite.
    pub(crate) name: String,
    /// What came out.
    pub(crate) result: CaseResult,
}

/// What came out of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CaseResult {
    /// Evidence is missing.
    Error {
        /// One line.
        message: String,
        /// All of it.
        text: String,
    },
    /// Not as expected.
    Failure {
        /// One line.
        message: String,
        /// All of it.
        text: String,
    },
    /// As expected.
    Pass,
    /// Not run.
    Skipped {
        /// Why.
        message: String,
    },
}

/// The whole file.
pub(crate) fn document(suites: &[Suite]) -> String {
    let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
    let all = suites.iter().flat_map(|suite| &suite.cases);
    element(&mut xml, "<testsuites name=\"steadfast\"", &Counts::of(all));
    for suite in suites {
        let name = escaped(&suite.name);
        let opening = format!("  <testsuite name=\"{name}\"");
        element(&mut xml, &opening, &Counts::of(&suite.cases));
        for case in &suite.cases {
            push_case(&mut xml, &name, case);
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

#[derive(Default)]
struct Counts {
    tests: u32,
    failures: u32,
    errors: u32,
    skipped: u32,
}

impl Counts {
    fn of<'a>(cases: impl IntoIterator<Item = &'a Case>) -> Self {
        let mut counts = Self::default();
        for case in cases {
            counts.tests += 1;
            match case.result {
                CaseResult::Error { .. } => counts.errors += 1,
                CaseResult::Failure { .. } => counts.failures += 1,
                CaseResult::Pass => {}
                CaseResult::Skipped { .. } => counts.skipped += 1,
            }
        }
        counts
    }
}

fn element(xml: &mut String, opening: &str, counts: &Counts) {
    let Counts {
        tests,
        failures,
        errors,
        skipped,
    } = counts;
    line(
        xml,
        &format!(
            "{opening} tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" \
             skipped=\"{skipped}\">"
        ),
    );
}

fn push_case(xml: &mut String, class: &str, case: &Case) {
    let opening = format!(
        "    <testcase classname=\"{class}\" name=\"{}\"",
        escaped(&case.name)
    );
    let inside = match &case.result {
        CaseResult::Pass => {
            line(xml, &format!("{opening}/>"));
            return;
        }
        CaseResult::Error { message, text } => reason("error", message, text),
        CaseResult::Failure { message, text } => reason("failure", message, text),
        CaseResult::Skipped { message } => format!("<skipped message=\"{}\"/>", escaped(message)),
    };
    line(xml, &format!("{opening}>"));
    line(xml, &format!("      {inside}"));
    line(xml, "    </testcase>");
}

fn reason(element: &str, message: &str, text: &str) -> String {
    let (message, text) = (escaped(message), escaped(text));
    format!("<{element} message=\"{message}\">{text}</{element}>")
}

fn line(xml: &mut String, text: &str) {
    // Writing to memory cannot fail.
    let _ = writeln!(xml, "{text}");
}

/// Text that is safe between tags and between quotes. A newline between quotes would be read back
/// as a space, so it is written as a reference.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&apos;"),
            '\n' => safe.push_str("&#10;"),
            '\t' => safe.push_str("&#9;"),
            '\r' => safe.push_str("&#13;"),
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            c if c < ' ' => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(name: &str, result: CaseResult) -> Case {
        Case {
            name: name.to_owned(),
            result,
        }
    }

    /// Every kind of result, with the counts that build servers show.
    #[test]
    fn junit_document_shape_is_stable() {
        let (message, text) = (
            "outage".to_owned(),
            "22 ms\nrepeat: steadfast run x".to_owned(),
        );
        let failure = CaseResult::Failure {
            message: message.clone(),
            text: text.clone(),
        };
        let fast = Suite {
            name: "fast".to_owned(),
            cases: vec![
                case("a seed 0", CaseResult::Pass),
                case("a seed 1", failure),
                case("b seed 0", CaseResult::Error { message, text }),
            ],
        };
        let skipped = CaseResult::Skipped {
            message: "needs the runtime".to_owned(),
        };
        let lab = Suite {
            name: "lab".to_owned(),
            cases: vec![case("all", skipped)],
        };
        insta::assert_snapshot!(document(&[fast, lab]), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="steadfast" tests="4" failures="1" errors="1" skipped="1">
          <testsuite name="fast" tests="3" failures="1" errors="1" skipped="0">
            <testcase classname="fast" name="a seed 0"/>
            <testcase classname="fast" name="a seed 1">
              <failure message="outage">22 ms&#10;repeat: steadfast run x</failure>
            </testcase>
            <testcase classname="fast" name="b seed 0">
              <error message="outage">22 ms&#10;repeat: steadfast run x</error>
            </testcase>
          </testsuite>
          <testsuite name="lab" tests="1" failures="0" errors="0" skipped="1">
            <testcase classname="lab" name="all">
              <skipped message="needs the runtime"/>
            </testcase>
          </testsuite>
        </testsuites>
        "#);
    }

    /// One unescaped letter makes the whole file unreadable, and with it every result.
    #[test]
    fn junit_text_is_escaped() {
        let hostile = "<a href=\"x\">'&'</a>\u{1b}[31m\u{0}\u{ffff}\r\n\tü";
        assert_eq!(
            escaped(hostile),
            "&lt;a href=&quot;x&quot;&gt;&apos;&amp;&apos;&lt;/a&gt;\u{fffd}[31m\u{fffd}\u{fffd}\
             &#13;&#10;&#9;ü"
        );
        let suite = Suite {
            name: hostile.to_owned(),
            cases: vec![case(
                hostile,
                CaseResult::Skipped {
                    message: hostile.to_owned(),
                },
            )],
        };
        let xml = document(&[suite]);
        assert!(!xml.contains("<a "), "{xml}");
        assert!(!xml.contains('\u{1b}'), "{xml}");
    }
}
