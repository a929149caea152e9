//! What a heartbeat costs: the codec alone, and a node's whole answer to an input.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use steadfast_benches::{Pair, carry_out, keys};
use steadfast_core::effect::Input;
use steadfast_core::wire::advert::{Advert, GROUP_MAC};
use steadfast_core::{MacAddr, NodeId};

fn codec(c: &mut Criterion) {
    let pair = Pair::settled();
    let (port, frame) = pair.advertisement().swap_remove(0);
    let (one, two) = (keys(NodeId(1)), keys(NodeId(2)));
    let advert = Advert::decode(&frame, port, &two).expect("an own frame");
    let mut group = c.benchmark_group("codec");
    group.bench_function("decode and verify", |b| {
        b.iter(|| Advert::decode(black_box(&frame), port, &two));
    });
    let mut out = Vec::with_capacity(2_048);
    group.bench_function("encode and sign", |b| {
        b.iter(|| {
            out.clear();
            black_box(&advert).encode(GROUP_MAC, MacAddr([2; 6]), &one, &mut out)
        });
    });
    group.finish();
}

fn node(c: &mut Criterion) {
    let pair = Pair::settled();
    let (port, frame) = pair.advertisement().swap_remove(0);
    let at = pair.now.after(std::time::Duration::from_millis(100));
    let mut group = c.benchmark_group("node");
    group.bench_function("standby hears an advertisement", |b| {
        b.iter_batched_ref(
            || pair.nodes[1].clone(),
            |node| {
                let input = Input::FrameReceived {
                    port,
                    frame: &frame,
                    at,
                };
                node.handle(at, input);
                carry_out(node, at)
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("active advertises on three paths", |b| {
        b.iter_batched_ref(
            || pair.nodes[0].clone(),
            |node| {
                node.handle(at, Input::DeadlineReached);
                carry_out(node, at)
            },
            BatchSize::SmallInput,
        );
    });
    let mut running = pair.clone();
    group.bench_function("pair: one interval", |b| b.iter(|| running.round()));
    group.finish();
}

criterion_group!(benches, codec, node);
criterion_main!(benches);
