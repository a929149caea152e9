//! Every pair of role and event against a table written down by hand, from the drawing in `role`.

use super::{EffectiveRole, RoleEvent};

/// Every event, in the order of the columns below.
const EVENTS: [RoleEvent; 12] = [
    RoleEvent::Applied,
    RoleEvent::ApplyFailed,
    RoleEvent::Barred,
    RoleEvent::Claimed,
    RoleEvent::Cleared,
    RoleEvent::Enabled,
    RoleEvent::Listened,
    RoleEvent::Lost,
    RoleEvent::Recovered,
    RoleEvent::Retired,
    RoleEvent::Withdrawn,
    RoleEvent::Yielded,
];

/// One row a role; `-` stays, a letter is the first one of the role's name, and `p` is pacified,
/// `s` starting.
///
/// ```text
///  Applied, ApplyFailed, Barred, Claimed, Cleared, Enabled,
///                    Listened, Lost, Recovered, Retired, Withdrawn, Yielded
/// ```
const TABLE: [(EffectiveRole, &str); 8] = [
    (EffectiveRole::Active, "- F - - - -  - S - - - D"),
    (EffectiveRole::Demoting, "- - - - - -  - S - - S -"),
    (EffectiveRole::Failed, "- - - - - -  - - S O - -"),
    (EffectiveRole::Off, "- - p - - S  - - - - - -"),
    (EffectiveRole::Pacified, "- - - P S -  - - - O - -"),
    (EffectiveRole::Promoting, "A F - - - -  - S - - - -"),
    (EffectiveRole::Standby, "- - p P - -  - - - O - -"),
    (EffectiveRole::Starting, "- - p - - -  S - - O - -"),
];

fn named(letter: &str) -> Option<EffectiveRole> {
    match letter {
        "-" => None,
        "A" => Some(EffectiveRole::Active),
        "D" => Some(EffectiveRole::Demoting),
        "F" => Some(EffectiveRole::Failed),
        "O" => Some(EffectiveRole::Off),
        "p" => Some(EffectiveRole::Pacified),
        "P" => Some(EffectiveRole::Promoting),
        "S" => Some(EffectiveRole::Standby),
        "s" => Some(EffectiveRole::Starting),
        other => panic!("{other} names no role"),
    }
}

/// All 96 pairs move as the table says: none was forgotten, none was added on the way.
#[test]
fn role_every_pair_of_role_and_event_moves_as_listed() {
    let mut pairs = 0;
    for (role, row) in TABLE {
        let row: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(row.len(), EVENTS.len(), "{role:?} has one column an event");
        for (event, letter) in EVENTS.into_iter().zip(row) {
            assert_eq!(role.on(event), named(letter), "{role:?} on {event:?}");
            pairs += 1;
        }
    }
    assert_eq!(pairs, 96);
}

/// The table's rows are all the roles, each once, so no role can hide from the test above.
#[test]
fn role_table_has_a_row_for_every_role() {
    assert_eq!(TABLE.map(|(role, _)| role), EffectiveRole::ALL);
}

/// The only way into `Active` is the kernel's confirmation of a claim (D20): whatever else happens,
/// a node never says that it serves before it does.
#[test]
fn role_active_is_reached_only_by_a_confirmed_claim() {
    for role in EffectiveRole::ALL {
        for event in EVENTS {
            let confirmed = (role, event) == (EffectiveRole::Promoting, RoleEvent::Applied);
            let reaches = role.on(event) == Some(EffectiveRole::Active);
            assert_eq!(reaches, confirmed, "{role:?} on {event:?}");
        }
        assert_eq!(role.owns(), role == EffectiveRole::Active, "{role:?}");
    }
}

/// From every role some way leads back to standing by: no role is a trap.
#[test]
fn role_no_role_is_a_trap() {
    for start in EffectiveRole::ALL {
        let mut reached = vec![start];
        let mut next = 0;
        while let Some(role) = reached.get(next).copied() {
            next += 1;
            for role in EVENTS.into_iter().filter_map(|event| role.on(event)) {
                if !reached.contains(&role) {
                    reached.push(role);
                }
            }
        }
        assert!(reached.contains(&EffectiveRole::Standby), "from {start:?}");
        assert!(reached.contains(&EffectiveRole::Active), "from {start:?}");
    }
}
