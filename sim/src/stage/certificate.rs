//! The certificate that a gateway's clients see (R5.6): what its daemon finds in the file.
//!
//! The file belongs to the box and stays what a step made it, over boots and daemons. The limit: a
//! daemon looks at once here, and every few seconds on a gateway.

use steadfast_core::CertificateMark;
use steadfast_shell::digest;

use super::gateway::Order;
use super::world::World;

impl World<'_> {
    /// A daemon that starts looks at its file, if there is one.
    pub(crate) fn begin_certificate(&mut self, station: usize) {
        if !self.gateways[station].certificate.is_empty() {
            self.tell_certificate(station);
        }
    }

    /// A step renews the file, or takes it away.
    pub(crate) fn set_certificate(&mut self, station: usize, shows: &str) {
        shows.clone_into(&mut self.gateways[station].certificate);
        self.tell_certificate(station);
        self.wake_soon(station);
    }

    fn tell_certificate(&mut self, station: usize) {
        let gateway = &mut self.gateways[station];
        let shown = Some(&gateway.certificate).filter(|shows| !shows.is_empty());
        let mark = shown.map(|shows| CertificateMark(digest::of_bytes(shows.as_bytes())));
        if let Some(daemon) = &mut gateway.daemon {
            daemon.order(Order::Certificate(mark));
        }
    }
}
