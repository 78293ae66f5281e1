//! The CPU: kernels, and the engine that executes plans with them.

mod arranged;
mod engine;
mod execute;
pub mod kernels;
mod peak;
mod resident;

use rayon::{ThreadPool, ThreadPoolBuilder};
use serde_json::json;

use super::{AvailableMemory, Device, DeviceError, Engine, EngineOptions, Form, ResidentMemory, Status};
use crate::ir::Precision;
use crate::plan::Plan;
use crate::system::memory::available;
use crate::units::counted;
use engine::CpuEngine;

const NAME: &str = "cpu";

/// Fused kernels on the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpu;

impl Device for Cpu {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "Fused kernels on the CPU"
    }

    fn form(&self) -> Form {
        Form::Plan
    }

    fn multiplies_in_bf16(&self) -> bool {
        kernels::multiplies_in_bf16()
    }

    fn status(&self) -> Status {
        #[cfg(target_arch = "x86_64")]
        let (avx2, avx512) = (is_x86_feature_detected!("avx2"), is_x86_feature_detected!("avx512f"));
        #[cfg(not(target_arch = "x86_64"))]
        let (avx2, avx512) = (false, false);
        let bf16 = kernels::multiplies_in_bf16();
        let EngineOptions { threads } = EngineOptions::default();
        let all = [("AVX2", avx2), ("AVX-512", avx512), ("products in bf16", bf16)];
        let found: Vec<&str> = all.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect();
        let instructions = if found.is_empty() {
            "no vector instructions that are used".to_string()
        } else {
            found.join(", ")
        };
        let facts = json!({ "threads": threads, "avx2": avx2, "avx512": avx512, "bf16": bf16 });
        Status {
            problem: None,
            summary: format!("{}; {instructions}", counted(threads, "thread")),
            details: Vec::new(),
            facts: facts.as_object().expect("it is an object").clone(),
        }
    }

    fn available_memory(&self) -> Option<AvailableMemory> {
        available()
    }

    fn resident_memory(&self, plans: &[&Plan], options: &EngineOptions) -> ResidentMemory {
        resident::resident_memory(plans, options)
    }

    fn product_rate(&self, precision: Precision, options: &EngineOptions) -> Result<f64, DeviceError> {
        Ok(peak::product_rate(&pool(options)?, precision))
    }

    fn copy_rate(&self, options: &EngineOptions) -> Result<f64, DeviceError> {
        Ok(peak::copy_rate(&pool(options)?))
    }

    fn open(&self, options: &EngineOptions) -> Result<Box<dyn Engine>, DeviceError> {
        Ok(Box::new(CpuEngine::new(pool(options)?)))
    }
}

/// Starts threads.
fn pool(options: &EngineOptions) -> Result<ThreadPool, DeviceError> {
    let threads = options.threads.max(1);
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("hrmc-{index}"))
        .build()
        .map_err(|error| DeviceError::Threads { threads, reason: error.to_string() })
}
