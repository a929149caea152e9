//! The operator's command; see [`steadfast::ctl`].

fn main() -> std::process::ExitCode {
    steadfast::ctl::main()
}
