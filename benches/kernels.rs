//! Speed of the CPU kernels, beside the speed of one large product in the same run.
//!
//! `cargo bench --bench kernels -- [FILTER [THREADS [bf16]]]` prints the best and the median time of each kernel whose
//! name contains `FILTER`, its rate, and, for products, the share of the peak. There are two threads and products are
//! in f32 unless said otherwise.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]

use std::time::{Duration, Instant};

use hrmc::internals::device::cpu::kernels::{
    AdamAtan2Step, AttentionShape, LossShape, ProductShape, Rope, Store, SwigluShape, Weight, adam_atan2,
    add, attention, attention_grad, linear_add_rms_norm, linear_swiglu, product_nn, product_nt, product_tn,
    rms_norm_grad, swiglu_grad, token_loss, token_loss_grad,
};
use hrmc::internals::graph::ops::{STRETCH, TokenLossKind};
use hrmc::internals::ir::Precision;

/// Prints measurements.
struct Bench {
    filter: String,
    /// Whether times are wanted. `cargo test` runs this too, to see that it works: it takes each kernel once.
    measures: bool,
    /// GFLOP/s of the large product.
    peak: f64,
}

impl Bench {
    /// Measures `run`, which performs `flops` operations of products and moves `bytes`.
    fn measure(&mut self, name: &str, flops: f64, bytes: f64, mut run: impl FnMut()) {
        if !name.contains(&self.filter) && !name.starts_with("peak") {
            return;
        }
        if !self.measures {
            return run();
        }
        let mut times = Vec::new();
        let begin = Instant::now();
        while times.len() < 5 || (begin.elapsed() < Duration::from_millis(400) && times.len() < 2000) {
            let start = Instant::now();
            run();
            times.push(start.elapsed().as_secs_f64());
        }
        times.sort_by(f64::total_cmp);
        let (best, median) = (times[0], times[times.len() / 2]);
        if name.starts_with("peak") {
            self.peak = self.peak.max(flops / best / 1e9);
        }
        let micros = |seconds: f64| seconds * 1e6;
        let mut line = format!("{name:<44} best {:>9.1} us  median {:>9.1} us", micros(best), micros(median));
        if flops > 0.0 {
            let rate = flops / best / 1e9;
            line += &format!("  {rate:>6.1} GFLOP/s  {:>3.0}% of peak", 100.0 * rate / self.peak);
        } else {
            line += &format!("  {:>6.1} GB/s", bytes / best / 1e9);
        }
        println!("{line}");
    }
}

/// Repeatable numbers between -1 and 1.
fn values(len: usize) -> Vec<f32> {
    let mut state = 1_u32;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

fn products(bench: &mut Bench, precision: Precision) {
    for (r, n, k) in [
        (1312, 3072, 512),
        (1312, 512, 1536),
        (1312, 1536, 512),
        (1312, 512, 512),
        (2624, 768, 128),
        (2624, 128, 128),
        (1184, 512, 64),
        (1184, 192, 64),
        (1184, 64, 192),
        (1184, 11, 64),
    ] {
        let (x, w, dy) = (values(r * k), values(n * k), values(r * n));
        let (mut y, mut dx, mut dw) = (vec![0.0; r * n], vec![0.0; r * k], vec![0.0; n * k]);
        let flops = 2.0 * (r * n * k) as f64;
        let name = format!("{r}x{n}x{k}");
        bench.measure(&format!("product_nt {name}"), flops, 0.0, || {
            product_nt(
                &mut y,
                &x,
                Weight::Rows(&w),
                None,
                Store::Replace,
                ProductShape::nt(r, n, k).with_precision(precision),
            );
        });
        bench.measure(&format!("product_nn {name}"), flops, 0.0, || {
            product_nn(&mut dx, &dy, &w, Store::Replace, ProductShape::nn(r, n, k).with_precision(precision));
        });
        bench.measure(&format!("product_tn {name}"), flops, 0.0, || {
            product_tn(&mut dw, &dy, &x, Store::Replace, ProductShape::tn(r, n, k).with_precision(precision));
        });
    }
}

fn fused(bench: &mut Bench, precision: Precision) {
    for (rows, width, inner) in [(1312, 512, 1536), (2592, 128, 384), (1184, 64, 192)] {
        let (x, w, down) = (values(rows * width), values(2 * inner * width), values(width * inner));
        let (mut h, mut gate_up) = (vec![0.0; rows * inner], vec![0.0; 2 * rows * inner]);
        let shape = SwigluShape { rows, width, inner, precision };
        let flops = 4.0 * (rows * width * inner) as f64;
        let name = format!("{rows}x{width}x{inner}");
        bench.measure(&format!("linear_swiglu {name}"), flops, 0.0, || {
            linear_swiglu(&mut h, None, &x, Weight::Rows(&w), shape)
        });
        bench.measure(&format!("linear_swiglu kept {name}"), flops, 0.0, || {
            linear_swiglu(&mut h, Some(&mut gate_up), &x, Weight::Rows(&w), shape);
        });
        let mut dgate_up = vec![0.0; gate_up.len()];
        bench.measure(&format!("swiglu_grad {name}"), 0.0, 20.0 * h.len() as f64, || {
            swiglu_grad(&mut dgate_up, &gate_up, &h, shape);
        });
        let (mut y, mut inv_rms) = (vec![0.0; rows * width], vec![0.0; rows]);
        bench.measure(&format!("linear_add_rms_norm {name}"), flops / 2.0, 0.0, || {
            let shape = ProductShape::nt(rows, width, inner).with_precision(precision);
            linear_add_rms_norm(&mut y, Some(&mut inv_rms), &h, Weight::Rows(&down), &x, 1e-5, shape);
        });
        let mut dx = vec![0.0; y.len()];
        bench.measure(&format!("rms_norm_grad {name}"), 0.0, 12.0 * y.len() as f64, || {
            rms_norm_grad(&mut dx, &y, &inv_rms, &x, None, width);
        });
        bench.measure(&format!("add {name}"), 0.0, 12.0 * y.len() as f64, || add(&mut dx, &y, &x));
    }
}

fn attentions(bench: &mut Bench, precision: Precision) {
    for (batch, positions, heads, head_width) in
        [(32, 37, 8, 8), (32, 81, 4, 32), (16, 82, 8, 64), (2, 901, 8, 64)]
    {
        let shape = AttentionShape { batch, positions, heads, head_width, precision };
        let qkv = values(batch * positions * 3 * shape.width());
        let (cos, sin) = (values(positions * head_width), values(positions * head_width));
        let rope = Some(Rope { cos: &cos, sin: &sin });
        let dout = values(qkv.len() / 3);
        let (mut out, mut dqkv) = (vec![0.0; dout.len()], vec![0.0; qkv.len()]);
        let mut lse = vec![0.0; batch * heads * positions];
        let flops = 4.0 * (batch * heads * positions * positions * head_width) as f64;
        let name = format!("B{batch} T{positions} H{heads} d{head_width}");
        bench.measure(&format!("attention {name}"), flops, 0.0, || {
            attention(&mut out, &mut lse, &qkv, rope, shape)
        });
        bench.measure(&format!("attention_grad {name}"), 2.5 * flops, 0.0, || {
            attention_grad(&mut dqkv, &qkv, &lse, &dout, rope, shape);
        });
    }
}

fn rest(bench: &mut Bench) {
    let shape = LossShape { batch: 32, positions: 81, vocab: 11 };
    let logits = values(32 * 81 * 11);
    let labels: Vec<i32> = (0..32 * 81).map(|at| at % 11).collect();
    let (mut loss, mut dlogits) = (vec![0.0; 32], vec![0.0; logits.len()]);
    for (name, kind) in [("stablemax", TokenLossKind::Stablemax), ("softmax", TokenLossKind::Softmax)] {
        bench.measure(&format!("token_loss {name}"), 0.0, 4.0 * logits.len() as f64, || {
            token_loss(&mut loss, &logits, &labels, kind, shape);
        });
        bench.measure(&format!("token_loss_grad {name}"), 0.0, 8.0 * logits.len() as f64, || {
            token_loss_grad(&mut dlogits, &logits, &labels, &[1.0; 32], kind, shape);
        });
    }
    for len in [3072 * 512, 64 * 512] {
        let (mut p, mut m, mut v, g) = (values(len), vec![0.0; len], vec![0.0; len], values(len));
        let step = AdamAtan2Step {
            lr: 1e-4,
            beta1: 0.9,
            beta2: 0.95,
            weight_decay: 1.0,
            step_scale: 1e-3,
            root_scale: 2.0,
        };
        let mut squares = vec![0.0; len.div_ceil(STRETCH)];
        bench.measure(&format!("adam_atan2 {len}"), 0.0, 28.0 * len as f64, || {
            adam_atan2(&mut p, &mut m, &mut v, &g, &mut squares, step);
        });
    }
}

fn main() {
    // `cargo bench` passes `--bench` as well.
    let measures = std::env::args().any(|argument| argument == "--bench");
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let filter = arguments.next().unwrap_or_default();
    let threads = arguments.next().map_or(2, |threads| threads.parse().expect("a number of threads"));
    let precision = match arguments.next().as_deref() {
        Some("bf16") => Precision::Bf16,
        _ => Precision::F32,
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can start");
    let mut bench = Bench { filter, measures, peak: 0.0 };
    pool.install(|| {
        let size = 2048;
        let (a, b, mut out) = (values(size * size), values(size * size), vec![0.0_f32; size * size]);
        let shape = ProductShape::nt(size, size, size).with_precision(precision);
        bench.measure("peak: 2048x2048x2048", 2.0 * (size as f64).powi(3), 0.0, || {
            product_nt(&mut out, &a, Weight::Rows(&b), None, Store::Replace, shape);
        });
        products(&mut bench, precision);
        fused(&mut bench, precision);
        attentions(&mut bench, precision);
        rest(&mut bench);
    });
}
