//! What to do about a machine that refuses: the stage and errno, read together with its settings.
//!
//! Settings are only read after something failed, to choose the words; an absent file means that
//! there is no such restriction. A refusal that is not in the table still names stage and errno.

use std::fs;
use std::io;

use super::Stage;

const MOST_USER_NAMESPACES: &str = "/proc/sys/user/max_user_namespaces";
const DEBIAN_SWITCH: &str = "/proc/sys/kernel/unprivileged_userns_clone";
const APPARMOR_SWITCH: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";

/// What people can do when this stage failed so.
pub(super) fn cure(stage: Stage, source: &io::Error, user: bool) -> String {
    let is =
        |file: &str, value: &str| fs::read_to_string(file).is_ok_and(|text| text.trim() == value);
    let settings = Settings {
        none_allowed: is(MOST_USER_NAMESPACES, "0"),
        debian: is(DEBIAN_SWITCH, "0"),
        apparmor: is(APPARMOR_SWITCH, "1"),
    };
    words(
        stage,
        source.raw_os_error().unwrap_or_default(),
        user,
        settings,
    )
    .to_owned()
}

#[derive(Clone, Copy, Debug, Default)]
struct Settings {
    none_allowed: bool,
    debian: bool,
    apparmor: bool,
}

fn words(stage: Stage, errno: i32, user: bool, settings: Settings) -> &'static str {
    let refused = matches!(errno, libc::EPERM | libc::EACCES);
    match stage {
        Stage::Clone if errno == libc::ENOSPC || settings.none_allowed => {
            "no user namespace is allowed here: sysctl -w user.max_user_namespaces=10000, or run \
             as root"
        }
        Stage::Clone if refused && settings.debian => {
            "user namespaces are switched off: sysctl -w kernel.unprivileged_userns_clone=1, or \
             run as root"
        }
        Stage::Clone if refused && user => {
            "user namespaces are refused, usually by a container's filter: start the container \
             with --security-opt seccomp=unconfined, or run as root outside it"
        }
        Stage::Clone if refused => {
            "root lacks CAP_SYS_ADMIN here, usually inside a container: start it with \
             --privileged, or set LAB_USERNS=1"
        }
        Stage::GidMap | Stage::UidMap | Stage::Setgroups | Stage::Private | Stage::Run
            if refused && settings.apparmor =>
        {
            "AppArmor refuses unprivileged user namespaces: sysctl -w \
             kernel.apparmor_restrict_unprivileged_userns=0, or a profile with `userns,`, or run \
             as root"
        }
        Stage::Proc if refused => {
            "a fresh /proc is refused where the present one is masked, as in containers: start the \
             container with --security-opt systempaths=unconfined, or be root in it without \
             LAB_USERNS"
        }
        Stage::Clone
        | Stage::Setgroups
        | Stage::GidMap
        | Stage::UidMap
        | Stage::DeathSignal
        | Stage::Net
        | Stage::Exec
        | Stage::Private
        | Stage::Proc
        | Stage::Run
        | Stage::Hostname
        | Stage::Identity
        | Stage::Worker => "no cure is known; try as root, and report this machine",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each known refusal is told apart from the others: a wrong cure costs people an hour.
    #[test]
    fn cure_known_refusals_are_told_apart() {
        let none = Settings::default();
        let apparmor = Settings {
            apparmor: true,
            ..none
        };
        let debian = Settings {
            debian: true,
            ..none
        };
        let cases = [
            (
                Stage::Clone,
                libc::ENOSPC,
                true,
                none,
                "max_user_namespaces",
            ),
            (
                Stage::Clone,
                libc::EPERM,
                true,
                debian,
                "unprivileged_userns_clone=1",
            ),
            (Stage::Clone, libc::EPERM, true, none, "seccomp=unconfined"),
            (Stage::Clone, libc::EPERM, false, none, "--privileged"),
            (Stage::UidMap, libc::EPERM, true, apparmor, "AppArmor"),
            (Stage::Private, libc::EACCES, true, apparmor, "AppArmor"),
            (
                Stage::Proc,
                libc::EPERM,
                true,
                none,
                "systempaths=unconfined",
            ),
            (Stage::Exec, libc::ENOENT, true, none, "no cure is known"),
        ];
        for (stage, errno, user, settings, expected) in cases {
            let words = words(stage, errno, user, settings);
            assert!(words.contains(expected), "{stage}, {errno}: {words}");
        }
    }
}
