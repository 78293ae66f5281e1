//! `hrmc.toml`: the defaults of a project.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use clap::ValueEnum;
use serde::Deserialize;

use super::failure::Failure;
use crate::device::Device;
use crate::device::cuda::probe::probe;
use crate::span::Source;
use crate::system::reason;

/// Name of the file, in the current folder or one above it.
const FILE: &str = "hrmc.toml";

/// What runs the programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceName {
    /// CUDA where a GPU, its driver and libraries are there, else the CPU.
    Auto,
    /// Fused kernels on the CPU.
    Cpu,
    /// Fused kernels and cuBLAS on an NVIDIA GPU.
    Cuda,
    /// luminal's primitives, interpreted: slow, and only for tiny models.
    Reference,
    /// luminal's primitives, compiled by luminal_cuda for an NVIDIA GPU: to compare with.
    LuminalCuda,
}

impl DeviceName {
    /// Returns the device; for [`DeviceName::Auto`] after a look at what is there.
    pub fn device(self) -> Device {
        match self {
            DeviceName::Auto if probe().problem().is_none() => Device::Cuda,
            DeviceName::Auto | DeviceName::Cpu => Device::Cpu,
            DeviceName::Cuda => Device::Cuda,
            DeviceName::Reference => Device::Reference,
            DeviceName::LuminalCuda => Device::LuminalCuda,
        }
    }
}

/// The content of `hrmc.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Defaults {
    spec: Option<PathBuf>,
    device: Option<DeviceName>,
    threads: Option<usize>,
    runs: Option<PathBuf>,
}

/// The defaults of the project around the current folder. A flag beats them.
#[derive(Debug)]
pub struct Project {
    /// Folder that relative paths in `hrmc.toml` and in specs start from; empty for the current folder.
    root: PathBuf,
    defaults: Defaults,
}

impl Project {
    /// Finds and reads `hrmc.toml` in the current folder or the nearest one above it that has one.
    ///
    /// # Errors
    ///
    /// Returns a failure if the file cannot be read or says something that is not known.
    pub fn find() -> Result<Project, Failure> {
        let current = env::current_dir().map_err(|error| {
            Failure::message(format!("cannot tell the current folder: {}", reason(&error)))
        })?;
        for folder in current.ancestors() {
            let path = folder.join(FILE);
            match fs::read_to_string(&path) {
                Ok(text) => {
                    // Paths stay relative where they can: they are shown to the user.
                    let root = if folder == current { PathBuf::new() } else { folder.to_path_buf() };
                    return Ok(Project { root, defaults: parse(&path, &text)? });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Failure::cannot_read(&path, &error)),
            }
        }
        Ok(Project { root: PathBuf::new(), defaults: Defaults::default() })
    }

    /// Returns where a path of `hrmc.toml` or of a spec leads.
    pub fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    /// Returns the spec of the project.
    pub fn spec(&self) -> Option<PathBuf> {
        self.defaults.spec.as_ref().map(|spec| self.resolve(spec))
    }

    /// Returns the device: the flag, else that of the project, else the CPU.
    pub fn device(&self, flag: Option<DeviceName>) -> Device {
        flag.or(self.defaults.device).unwrap_or(DeviceName::Cpu).device()
    }

    /// Returns the number of threads: the flag, else that of the project, else one for each core.
    pub fn threads(&self, flag: Option<usize>) -> usize {
        flag.or(self.defaults.threads)
            .unwrap_or_else(|| thread::available_parallelism().map_or(1, std::num::NonZero::get))
    }

    /// Returns the folder of runs: the flag, else that of the project, else `runs`.
    pub fn runs(&self, flag: Option<&Path>) -> PathBuf {
        match (flag, &self.defaults.runs) {
            (Some(flag), _) => flag.to_path_buf(),
            (None, Some(runs)) => self.resolve(runs),
            (None, None) => self.resolve("runs"),
        }
    }
}

fn parse(path: &Path, text: &str) -> Result<Defaults, Failure> {
    let defaults: Defaults = toml::from_str(text).map_err(|error| {
        let source = Source::new(path.display().to_string(), text);
        let place = error.span().map_or(String::new(), |span| {
            let location = source.location(span.start);
            format!(", line {}, column {}", location.line, location.column)
        });
        let message = error.message().trim_end().replace('\n', "; ");
        Failure::message(format!("`{}`{place}: {message}", source.name))
    })?;
    if defaults.threads == Some(0) {
        let message = format!("`{}`: `threads` must be at least 1", path.display());
        return Err(Failure::Message(message));
    }
    Ok(defaults)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Defaults, DeviceName, parse};
    use crate::cli::failure::Failure;

    fn read(text: &str) -> Result<Defaults, String> {
        parse(Path::new("hrmc.toml"), text).map_err(|failure| match failure {
            Failure::Message(message) => message,
            other => format!("{other:?}"),
        })
    }

    #[test]
    fn every_key_is_read() {
        let defaults = read("spec = \"a.hrm\"\ndevice = \"reference\"\nthreads = 3\nruns = \"r\"\n")
            .expect("it is right");
        assert_eq!(defaults.spec.as_deref(), Some(Path::new("a.hrm")));
        assert_eq!(defaults.device, Some(DeviceName::Reference));
        assert_eq!(defaults.threads, Some(3));
        assert_eq!(defaults.runs.as_deref(), Some(Path::new("r")));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place() {
        let message = read("threads = 2\nsped = \"a.hrm\"\n").unwrap_err();
        assert!(message.starts_with("`hrmc.toml`, line 2, column 1: unknown field `sped`"), "{message}");
    }

    #[test]
    fn zero_threads_are_refused() {
        assert_eq!(read("threads = 0").unwrap_err(), "`hrmc.toml`: `threads` must be at least 1");
    }
}
