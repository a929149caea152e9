//! A world's set: the stage with a cast, and what a world has to carry out for it.
//!
//! The stage says which boxes have power and which cables carry; the world has hosts and pairs of
//! hosts. [`Set::cut_changes`] is the one place where a cable's state becomes a pair's, and so the
//! one place at which anything else that runs over a cable is cut with it.

use std::cell::RefCell;
use std::rc::Rc;

use steadfast_core::{Instant, Rules};
use steadfast_scenarios::format::{Plan, Port};
use steadfast_scenarios::trace::Event;
use steadfast_shell::habits::Habits;

use super::Stage;
use super::cables::Cables;
use super::ground::{Ground, Host};
use super::hosts::{Guests, House};
use super::seat::{Cast, Door};
use super::streams::Lines;
use crate::stage::{Cost, Tap, World};

/// The stage, its cast, and what they want done.
pub(crate) struct Set {
    /// The stage.
    pub(crate) stage: Stage,
    cables: Rc<Cables>,
    doors: Rc<Vec<Door>>,
    powers: Rc<RefCell<Vec<(usize, bool)>>>,
    heard: Rc<RefCell<Vec<Event>>>,
    cuts: Vec<Cut>,
    seen_net: u64,
    end: Instant,
    rules: Rules,
    habits: Habits,
    lines: Lines,
}

/// A cable, and what the world was told of it.
struct Cut {
    gateway: usize,
    segment: usize,
    out: bool,
    back: bool,
}

/// What a pair of hosts shall be from now on: from, to, and whether nothing passes.
pub(crate) type CutChange = (Host, Host, bool);

impl Set {
    /// A set at its origin, everything dark.
    ///
    /// # Errors
    /// A scenario whose configuration the product refuses, in its words.
    pub(crate) fn new(plan: &Plan, rules: Rules, habits: Habits) -> Result<Self, String> {
        let heard: Rc<RefCell<Vec<Event>>> = Rc::default();
        let listener = Rc::clone(&heard);
        let sink = Box::new(move |event: &Event| listener.borrow_mut().push(event.clone()));
        let mut world = World::new(plan, rules, sink)?;
        let (gateways, segments) = (plan.layout.gateways.len(), plan.layout.segments.len());
        let cables = Rc::new(Cables::new(gateways, segments));
        let doors: Rc<Vec<Door>> = Rc::new((0..gateways).map(|_| Door::default()).collect());
        let powers = Rc::default();
        let cast = Cast::new(Rc::clone(&cables), Rc::clone(&doors), Rc::clone(&powers));
        world.players = Some(Box::new(cast));
        let boxes = plan.layout.gateways.iter().enumerate();
        let cuts = boxes.flat_map(|(gateway, it)| {
            let cut = move |port: &Port| Cut {
                gateway,
                segment: port.segment.index(),
                out: false,
                back: false,
            };
            it.ports.iter().map(cut)
        });
        Ok(Self {
            cuts: cuts.collect(),
            stage: Rc::new(RefCell::new(world)),
            cables,
            doors,
            powers,
            heard,
            seen_net: 0,
            end: plan.end(),
            rules,
            habits,
            lines: Lines::default(),
        })
    }

    /// Frames go to this tap, if there is one.
    pub(crate) fn record(&self, tap: Option<&Tap>) {
        self.stage.borrow_mut().tap = tap.cloned();
    }

    /// What every host of this world knows.
    pub(crate) fn house<G: Ground>(&self, ground: G) -> House<G> {
        House {
            ground,
            stage: Rc::clone(&self.stage),
            cables: Rc::clone(&self.cables),
            doors: Rc::clone(&self.doors),
            rules: self.rules,
            habits: self.habits,
            lines: self.lines.clone(),
            guests: Guests::default(),
        }
    }

    /// Boxes that got power, or lost it, since the last call; in order.
    pub(crate) fn power_changes(&self) -> Vec<(usize, bool)> {
        self.powers.take()
    }

    /// Pairs of hosts that shall change since the last call.
    /// Streams die here with the cables they run over, when their deadline has come.
    pub(crate) fn cut_changes(&mut self) -> Vec<CutChange> {
        let stage = self.stage.borrow();
        self.lines.follow(&stage);
        let mut changes = Vec::new();
        if stage.net.version == self.seen_net {
            return changes;
        }
        self.seen_net = stage.net.version;
        for cut in &mut self.cuts {
            let (out, back) = stage.net.cut(cut.segment, cut.gateway);
            let (gateway, segment) = (Host::Gateway(cut.gateway), Host::Segment(cut.segment));
            if core::mem::replace(&mut cut.out, out) != out {
                changes.push((gateway, segment, out));
            }
            if core::mem::replace(&mut cut.back, back) != back {
                changes.push((segment, gateway, back));
            }
        }
        changes
    }

    /// When [`Self::cut_changes`] has to be asked again even if nothing happens.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.lines.next_deadline()
    }

    /// Whether any stream is open.
    #[cfg_attr(madsim, expect(dead_code, reason = "madsim asks at every event"))]
    pub(crate) fn streams(&self) -> bool {
        self.lines.any()
    }

    /// Tells what has happened since the last call.
    pub(crate) fn tell(&self, sink: &mut dyn FnMut(&Event)) {
        let mut heard = self.heard.take();
        // A world's clock may have gone a little beyond the end.
        heard.retain(|event| event.at <= self.end);
        heard.iter().for_each(sink);
    }

    /// Tells the end, and what the run cost.
    pub(crate) fn end(&self, sink: &mut dyn FnMut(&Event)) -> Cost {
        let mut cost = self.stage.borrow_mut().end();
        self.tell(sink);
        cost.overflowed |= self.cables.dropped() > 0;
        cost
    }
}
