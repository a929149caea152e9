//! Builds a scenario in Rust: the same text, the same checks.

use super::{
    Cluster, Expectation, Family, GatewaySetup, Layout, Moment, OnFrame, Plan, Scenario,
    ScenarioError, Span, Step, Stream, Target, Topology, Verb, When, Who,
};

/// A scenario in the making; mistakes are told by [`Builder::build`].
#[derive(Clone, Debug)]
pub struct Builder {
    plan: Plan,
}

impl Builder {
    /// A run of 10 s of two gateways with every setting at its default.
    pub fn new(name: &str) -> Self {
        let topology = Topology::default();
        Self {
            plan: Plan {
                seed: 0,
                drawn: Default::default(),
                name: name.to_owned(),
                title: name.to_owned(),
                claims: Vec::new(),
                duration: Span::secs(10),
                long: false,
                layout: Layout::new(&topology).unwrap_or_default(),
                topology,
                cluster: Cluster::default(),
                gateways: Default::default(),
                traffic: Stream::usual(Family::Ipv4),
                worlds: Default::default(),
                steps: Vec::new(),
                expects: Vec::new(),
            },
        }
    }

    /// One line for people.
    #[must_use]
    pub fn title(mut self, title: &str) -> Self {
        title.clone_into(&mut self.plan.title);
        self
    }

    /// Requirements, rules and failures it speaks for.
    #[must_use]
    pub fn claims(mut self, claims: &[&str]) -> Self {
        self.plan.claims = claims.iter().map(|&claim| claim.to_owned()).collect();
        self
    }

    /// How long it runs.
    #[must_use]
    pub const fn lasting(mut self, duration: Span) -> Self {
        self.plan.duration = duration;
        self
    }

    /// The network; to be set before steps name its parts.
    #[must_use]
    pub fn topology(mut self, topology: Topology) -> Self {
        if self.plan.traffic == Stream::usual(self.plan.topology.family) {
            self.plan.traffic = Stream::usual(topology.family);
        }
        self.plan.layout = Layout::new(&topology).unwrap_or_default();
        self.plan.topology = topology;
        self
    }

    /// Changes the shared settings.
    #[must_use]
    pub fn cluster(mut self, change: impl FnOnce(&mut Cluster)) -> Self {
        change(&mut self.plan.cluster);
        self
    }

    /// Changes one gateway's settings.
    #[must_use]
    pub fn gateway(mut self, name: &str, change: impl FnOnce(&mut GatewaySetup)) -> Self {
        change(self.plan.gateways.entry(name.to_owned()).or_default());
        self
    }

    /// Replaces the streams of probes.
    #[must_use]
    pub fn traffic(mut self, streams: Vec<Stream>) -> Self {
        self.plan.traffic = streams;
        self
    }

    /// Adds a step at a time, or so long after an earlier one.
    #[must_use]
    pub fn step(self, name: &str, at: Moment, target: &str, verb: Verb) -> Self {
        self.add(name, When::At(at), target, verb)
    }

    /// Adds a step that a frame sets off.
    #[must_use]
    pub fn step_on(self, name: &str, frame: OnFrame, target: &str, verb: Verb) -> Self {
        self.add(name, When::On(frame), target, verb)
    }

    /// Adds an expectation.
    #[must_use]
    pub fn expect(mut self, expectation: Expectation) -> Self {
        self.plan.expects.push(expectation);
        self
    }

    /// The scenario, checked like a file.
    pub fn build(self) -> Result<Scenario, ScenarioError> {
        Scenario::from_plan(&self.plan)
    }

    fn add(mut self, name: &str, when: When, target: &str, verb: Verb) -> Self {
        // A target that names nothing is written as it is, so that the check words the message.
        let parsed = Target::parse(target, &self.plan.layout, &self.plan.steps);
        let target = parsed.unwrap_or_else(|_| Target::Gateway(Who::Named(target.to_owned())));
        self.plan.steps.push(Step {
            name: name.to_owned(),
            when,
            target,
            verb,
        });
        self
    }
}
