fn main() {
    let a: Vec<String> = std::env::args().collect();
    let src = hrmc::span::Source::new(&*a[1], std::fs::read_to_string(&a[1]).unwrap());
    let p = hrmc::syntax::parse(&src);
    let c = hrmc::check::check(&p.file);
    let m = c.model.expect("model");
    let o =
        hrmc::bench::BenchOptions { batch: a[2].parse().unwrap(), threads: a[3].parse().unwrap(), repeat: 5 };
    let r = hrmc::bench::measure(&m, o, true).unwrap();
    println!("peak {:.1} start {:.2}s mem {} MB", r.peak_gflop_per_s, r.start_s, r.memory_bytes >> 20);
    for p in &r.programs {
        println!(
            "{:9} best {:.4} med {:.4} seq/s {:.1} gflop {:.2} rate {:.1} share {:.2} calls {}",
            p.program,
            p.best_s,
            p.median_s,
            p.sequences_per_s,
            p.gflop,
            p.gflop_per_s,
            p.share_of_peak,
            p.calls
        );
    }
    for k in &r.kernels {
        println!(
            "  {:22} {:8} {:4} {:8.3} ms {:7.2} GF {:6.1} GF/s {:6.1} GB/s",
            k.operator,
            k.phase,
            k.calls,
            k.seconds * 1e3,
            k.gflop,
            k.gflop / k.seconds,
            k.gigabytes / k.seconds
        );
    }
}
