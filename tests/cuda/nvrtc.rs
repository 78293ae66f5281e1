//! The kernels under NVRTC and the assembler of CUDA, for the architectures that hrmc is meant for (tier T1).
//!
//! No device is needed, only the library: where the system's loader finds it, or in a toolkit that `CUDA_HOME` names.
//! `tests/fetch_nvrtc.sh` gets it. Without it the test says so and passes, unless the variable HRMC_T1 is `required`.

use std::collections::BTreeMap;
use std::env;

use hrmc::internals::device::cuda::kernels::{Family, Kernel, Template};
use hrmc::internals::device::cuda::nvrtc::Compiler;

/// Architectures of A100 and H100; the last has instructions that only H100 has.
const ARCHITECTURES: [&str; 3] = ["sm_80", "sm_90", "sm_90a"];

/// The most registers of a thread. With these a multiprocessor, which has 65,536, holds at least two blocks of 256
/// threads, or of 128 where there are more than 128 registers; a kernel that is in no list takes at most
/// [`USUAL_REGISTERS`], so that it holds six.
const REGISTERS: &[(Template, u32)] = &[
    (Template::Attention, 96),
    (Template::AttentionGradDelta, 80),
    (Template::AttentionGradQueries, 104),
    (Template::AttentionGradKeys, 96),
    (Template::AttentionBf16Of64, 200),
    (Template::AttentionBf16Of128, 216),
    (Template::AttentionGradQueriesBf16Of64, 240),
    (Template::AttentionGradQueriesBf16Of128, 240),
    (Template::AttentionGradKeysBf16Of64, 176),
    (Template::AttentionGradKeysBf16Of128, 255),
    // Two blocks of 192 threads.
    (Template::AttentionGradBf16Short, 168),
    (Template::LinearSwiglu, 96),
    // One block of 256 threads: half of these are sums, and a larger tile reads less from the second-level cache.
    (Template::LinearSwigluBf16, 216),
    // A multiprocessor gives out registers in eights, so that it holds five blocks. Updates wait for memory.
    (Template::AdamAtan2, 48),
    (Template::AdamW, 48),
    (Template::SignSgdRows, 48),
];
const USUAL_REGISTERS: u32 = 42;

/// Bytes of shared memory of a block, exactly; a kernel that is not here has none.
const SHARED: &[(Template, u32)] = &[
    (Template::SumLeading, 1024),
    (Template::EmbedGrad, 1024),
    (Template::Transpose, 4224),
    (Template::RowDistance, 32),
    (Template::TokenLoss, 32),
    (Template::TokenLossGrad, 32),
    (Template::Correctness, 32),
    (Template::Attention, 5280),
    (Template::AttentionGradDelta, 5280),
    (Template::AttentionGradQueries, 5280),
    (Template::AttentionGradKeys, 5280),
    (Template::AttentionBf16Of64, 16384),
    (Template::AttentionBf16Of128, 32768),
    (Template::AttentionGradQueriesBf16Of64, 16384),
    (Template::AttentionGradQueriesBf16Of128, 32768),
    (Template::AttentionGradKeysBf16Of64, 16896),
    (Template::AttentionGradKeysBf16Of128, 33280),
    (Template::AttentionGradBf16Short, 49152),
    (Template::LinearSwiglu, 8320),
    (Template::LinearSwigluBf16, 49152),
    // A sum of squares of each warp.
    (Template::AdamAtan2, 32),
    (Template::AdamW, 32),
    (Template::SignSgdRows, 32),
];

/// Bytes of registers that go to memory at most; a kernel that is not here spills none.
const SPILLED: &[(Template, u32)] = &[
    // For heads wider than 64, which no shipped spec has: the sums of a thread alone take 64 registers, its share of
    // keys and values as many, and some versions of the assembler do not find room for the rest.
    (Template::AttentionGradKeysBf16Of128, 104),
];

fn limit(table: &[(Template, u32)], kernel: Template, usual: u32) -> u32 {
    table.iter().find(|(other, _)| *other == kernel).map_or(usual, |(_, limit)| *limit)
}

#[test]
fn kernels_compile_without_spills_within_their_budgets() {
    let compiler = match Compiler::load(&[]) {
        Ok(compiler) => compiler,
        Err(why) => {
            let required = env::var_os("HRMC_T1").is_some_and(|value| value == "required");
            assert!(!required, "T1 has to run: {}", why.about("NVRTC"));
            eprintln!("T1 did not run: {}", why.about("NVRTC"));
            return;
        }
    };
    let kernels = Kernel::all();
    let known = compiler.architectures();
    assert!([80, 90].iter().all(|architecture| known.contains(architecture)), "{known:?}");
    let portable = compiler.compile(Family::Elementwise, &Kernel::all(), "compute_80");
    let portable = portable.unwrap_or_else(|log| panic!("for no device: {log}")).image;
    assert!(portable.ends_with(&[0]) && portable.windows(8).any(|text| text == b".version"));
    let mut problems = Vec::new();
    for architecture in ARCHITECTURES {
        let mut usage = BTreeMap::new();
        for &family in Family::ALL {
            let compiled = compiler.compile(family, &kernels, architecture);
            let compiled =
                compiled.unwrap_or_else(|log| panic!("{} for {architecture}: {log}", family.file()));
            assert!(compiled.ptx.contains(".version"), "the assembly is had as well");
            usage.extend(compiled.usage.into_iter().map(|usage| (usage.kernel.clone(), usage)));
        }
        let version = compiler.version();
        eprintln!(
            "T1 ran under NVRTC {version} for {architecture}: registers, shared bytes and spilled bytes of each kernel"
        );
        for kernel in &kernels {
            let name = kernel.name();
            let used = &usage[&name];
            eprintln!("{name:<44}{:>6}{:>8}{:>6}", used.registers, used.shared_bytes, used.spilled_bytes);
            let most = limit(REGISTERS, kernel.template, USUAL_REGISTERS);
            if used.registers == 0 || used.registers > most {
                problems.push(format!("{architecture} {name}: {} registers, at most {most}", used.registers));
            }
            let shared = limit(SHARED, kernel.template, 0);
            if used.shared_bytes != shared {
                problems
                    .push(format!("{architecture} {name}: {} shared bytes, not {shared}", used.shared_bytes));
            }
            let spilled = limit(SPILLED, kernel.template, 0);
            if used.spilled_bytes > spilled {
                problems.push(format!(
                    "{architecture} {name}: {} bytes spilled, at most {spilled}",
                    used.spilled_bytes
                ));
            }
        }
        assert_eq!(usage.len(), kernels.len(), "no text has a kernel that is not listed");
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
