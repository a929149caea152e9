//! Statements about Linux, tried on the kernel model: what the worlds take for Linux must be it.
//!
//! The same statements are tried on the kernel itself by `cargo test -p steadfast --test
//! conformance`. A difference that is known is listed in `scenarios/src/conformance`, and the
//! model is held to the list.

use steadfast_scenarios::conformance::{
    Known, Side, Statement, Verdict, falsehoods, judge, known, play, statements,
};
use steadfast_sim::conformance::Modelled;

fn verdict(statement: &Statement, known: &[Known]) -> Verdict {
    let mut model = Modelled::new(statement);
    let Ok(played) = play(&mut model, statement);
    judge(statement, &played, Side::Model, known)
}

/// Every statement holds of the model, or differs as the list says.
#[test]
fn conformance_model_does_what_linux_does() {
    let mut failed = Vec::new();
    let without = statements();
    let without = without.iter().filter_map(Statement::without_egress);
    for statement in statements().into_iter().chain(without) {
        let found = verdict(&statement, &known());
        if found != Verdict::Holds {
            failed.push(format!(
                "{} (egress: {}): {found}\n  ({})",
                statement.name, statement.egress, statement.says
            ));
        }
    }
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
}

/// A false statement is found out: each must differ, none may hold or be left untried.
#[test]
fn conformance_model_refuses_what_is_false() {
    for statement in falsehoods() {
        let found = verdict(&statement, &[]);
        let differs = matches!(found, Verdict::Differs(_));
        assert!(differs, "{}: {found}", statement.name);
    }
}

/// What is listed as a difference is one: without the list each of these statements fails.
#[test]
fn conformance_every_listed_difference_is_still_there() {
    for one in known() {
        let all = statements();
        let found = all.iter().find(|statement| statement.name == one.statement);
        let Verdict::Differs(found) = verdict(found.expect("a statement"), &[]) else {
            panic!("{} differs no more: take it off the list", one.statement);
        };
        assert_eq!((found.step, found.seen), (one.step, one.model));
    }
}
