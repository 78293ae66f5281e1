//! `hrmc.toml`: the defaults of a project.

#![expect(
    clippy::disallowed_methods,
    reason = "here the environment and `hrmc.toml` become arguments of the library"
)]

use std::cell::Cell;
use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;

use super::failure::Failure;
use super::terminal::{self, grouped};
use crate::device::{Device, EngineOptions, Places};
use crate::reading;
use crate::span::Source;
use crate::system::reason;

/// Name of the file, in the current folder or one above it.
const FILE: &str = "hrmc.toml";

/// The device that stands for the best one that can run here.
pub const AUTO: &str = "auto";

/// The device if neither the command line nor `hrmc.toml` names one.
const DEFAULT_DEVICE: &str = "cpu";

/// Threads for each core beyond which a training is not begun.
///
/// With each step of 64 threads on 2 cores, threads that find no work cost a third more time. With 1,000 threads they
/// cost nearly all of it, since each of them looks for work at all others before it sleeps.
const MOST_THREADS_OF_A_CORE: usize = 32;

/// The devices of this command line.
pub type Devices = [Arc<dyn Device>];

/// Returns what the environment says about devices: toolkits of CUDA, the cache of compiled kernels, and which GPUs are
/// to be seen.
///
/// A relative path would mean another folder in each folder that hrmc is started in, so it is ignored.
pub fn places() -> Places {
    let mut ignored = Vec::new();
    let mut set = |name: &str| {
        let path = PathBuf::from(env::var_os(name).filter(|value| !value.is_empty())?);
        if path.is_relative() {
            let path = path.display();
            ignored.push(format!("{name} is ignored: `{path}` is relative, and an absolute path is needed"));
            return None;
        }
        Some(path)
    };
    let toolkits = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(&mut set).collect();
    let caches = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    Places {
        toolkits,
        kernel_cache: caches.map(|caches| caches.join("hrmc").join("kernels")),
        visible_devices: env::var_os("CUDA_VISIBLE_DEVICES")
            .map(|value| value.to_string_lossy().into_owned()),
        ignored,
    }
}

/// Returns whether the terminal, by its own account, can neither move its cursor nor erase.
pub fn terminal_is_dumb() -> bool {
    env::var_os("TERM").is_some_and(|kind| kind == "dumb")
}

/// Returns the names that `--device` accepts, each with a description.
pub fn device_names(devices: &Devices) -> Vec<(&'static str, &'static str)> {
    let auto = match cfg!(feature = "cuda") {
        true => (AUTO, "CUDA where a GPU, its driver and libraries are there, else the CPU"),
        false => (AUTO, "The CPU"),
    };
    let named = devices.iter().map(|device| (device.name(), device.about()));
    std::iter::once(auto).chain(named).collect()
}

/// The content of `hrmc.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    spec: Option<PathBuf>,
    device: Option<Spanned<String>>,
    threads: Option<usize>,
    runs: Option<PathBuf>,
}

/// The defaults of the project around the current folder. A flag beats them.
#[derive(Debug)]
pub struct Project<'a> {
    devices: &'a Devices,
    /// Folder that relative paths in `hrmc.toml` and in specs start from; empty for the current folder.
    root: PathBuf,
    defaults: Defaults,
    /// Whether the notes about the device were printed.
    noted: Cell<bool>,
}

impl<'a> Project<'a> {
    /// Finds and reads `hrmc.toml` in the current folder or the nearest one above it that has one.
    ///
    /// # Errors
    ///
    /// Returns a failure if the file cannot be read, or has an unknown key or value.
    pub fn find(devices: &'a Devices) -> Result<Project<'a>, Failure> {
        let current = env::current_dir().map_err(|error| {
            Failure::message(format!("cannot tell the current folder: {}", reason(&error)))
        })?;
        for folder in current.ancestors() {
            let path = folder.join(FILE);
            match reading::text(&path, &reading::PROJECT) {
                Ok(text) => {
                    // Paths stay relative where they can: they are shown to the user.
                    let root = if folder == current { PathBuf::new() } else { folder.to_path_buf() };
                    let defaults = parse(&path, &text, devices)?;
                    return Ok(Project { devices, root, defaults, noted: Cell::new(false) });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Failure::cannot_read(&path, &error)),
            }
        }
        let defaults = Defaults::default();
        Ok(Project { devices, root: PathBuf::new(), defaults, noted: Cell::new(false) })
    }

    /// Returns a path of `hrmc.toml` or of a spec, relative to the project.
    pub fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    /// Returns the spec of the project.
    pub fn spec(&self) -> Option<PathBuf> {
        self.defaults.spec.as_ref().map(|spec| self.resolve(spec))
    }

    /// Returns the folder that relative paths in specs start from.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the device: the flag, else that of the project, else the CPU.
    pub fn device(&self, flag: Option<&str>) -> Arc<dyn Device> {
        let name = flag
            .or(self.defaults.device.as_ref().map(|device| device.get_ref().as_str()))
            .unwrap_or(DEFAULT_DEVICE);
        self.device_named(name).expect("names of devices are checked when they are read")
    }

    /// Returns the device of a name; for [`AUTO`], the best device that can run here. The first time it prints what the
    /// user should know about the choice.
    pub fn device_named(&self, name: &str) -> Option<Arc<dyn Device>> {
        let find = |name: &str| self.devices.iter().find(|device| device.name() == name);
        let mut notes = Vec::new();
        let found = match name {
            AUTO => {
                let preferred = self.devices.iter().filter(|device| device.is_preferred());
                let mut usable = preferred.filter(|device| match device.status().problem {
                    None => true,
                    Some(problem) => {
                        notes.push(format!("`{AUTO}` does not choose `{}`: {problem}", device.name()));
                        false
                    }
                });
                usable.next().or_else(|| find(DEFAULT_DEVICE))
            }
            name => find(name),
        }?;
        notes.extend(found.notes());
        if !self.noted.replace(true) {
            notes.iter().for_each(terminal::note);
        }
        Some(Arc::clone(found))
    }

    /// Returns the number of threads: the flag, else that of the project, else one for each core. More threads than
    /// cores are worth a warning.
    ///
    /// # Errors
    ///
    /// Returns a failure if there are many more threads than cores.
    pub fn threads(&self, flag: Option<usize>) -> Result<usize, Failure> {
        let cores = EngineOptions::default().threads;
        let (threads, asked) = match (flag, self.defaults.threads) {
            (Some(threads), _) => (threads, format!("`--threads {threads}`")),
            (None, Some(threads)) => (threads, format!("`threads = {threads}` in `{FILE}`")),
            (None, None) => return Ok(cores),
        };
        if let Some(warning) = check_threads(threads, &asked, cores)? {
            terminal::note(warning);
        }
        Ok(threads)
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

/// Returns a warning if there are more threads than cores.
fn check_threads(threads: usize, asked: &str, cores: usize) -> Result<Option<String>, Failure> {
    let there_are = match cores {
        1 => "there is 1 core".to_string(),
        _ => format!("there are {} cores", grouped(cores as u64)),
    };
    let most = cores.saturating_mul(MOST_THREADS_OF_A_CORE);
    if threads > most {
        return Err(Failure::message(format!(
            "{asked} is too many: {there_are}, and threads beyond {MOST_THREADS_OF_A_CORE} for each core mostly wait \
             for each other; use at most {}, best one for each core",
            grouped(most as u64)
        )));
    }
    let warning = || {
        format!(
            "warning: {asked}: {there_are}, so threads take turns and get slower; one for each core gives the same \
             bytes"
        )
    };
    Ok((threads > cores).then(warning))
}

/// Reads the text of `hrmc.toml`; messages call it `path`.
///
/// # Errors
///
/// Returns a failure if it has an unknown key or value.
pub fn parse(path: &Path, text: &str, devices: &Devices) -> Result<Defaults, Failure> {
    let wrong =
        |place: &str, message: &str| Failure::message(format!("`{}`{place}: {message}", path.display()));
    let defaults: Defaults = reading::toml::value(text)
        .map_err(|fault| Failure::message(format!("`{}`, {fault}", path.display())))?;
    if defaults.threads == Some(0) {
        return Err(wrong("", "`threads` must be at least 1"));
    }
    let names = device_names(devices);
    if let Some(device) = &defaults.device
        && !names.iter().any(|(name, _)| name == device.get_ref())
    {
        let names: Vec<String> = names.iter().map(|(name, _)| format!("`{name}`")).collect();
        let message = format!(
            "there is no device `{}`; there are {}",
            reading::shortened(device.get_ref()),
            names.join(", ")
        );
        let location = Source::new("", text).location(device.span().start);
        return Err(wrong(&format!(", line {}, column {}", location.line, location.column), &message));
    }
    Ok(defaults)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use toml::Spanned;

    use super::{Defaults, check_threads, parse};
    use crate::cli::failure::Failure;
    use crate::device::{Places, devices};

    fn read(text: &str) -> Result<Defaults, String> {
        parse(Path::new("hrmc.toml"), text, &devices(&Places::default())).map_err(|failure| match failure {
            Failure::Message(message) => message,
            other => format!("{other:?}"),
        })
    }

    #[test]
    fn every_key_is_read() {
        let defaults = read("spec = \"a.hrm\"\ndevice = \"reference\"\nthreads = 3\nruns = \"r\"\n")
            .expect("it is right");
        assert_eq!(defaults.spec.as_deref(), Some(Path::new("a.hrm")));
        assert_eq!(defaults.device.map(Spanned::into_inner).as_deref(), Some("reference"));
        assert_eq!(defaults.threads, Some(3));
        assert_eq!(defaults.runs.as_deref(), Some(Path::new("r")));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place() {
        let message = read("threads = 2\nsped = \"a.hrm\"\n").unwrap_err();
        let expected = "`hrmc.toml`, line 2, column 1: there is no key `sped`; there is `spec`, `device`, `threads`, `runs`";
        assert_eq!(message, expected);
    }

    #[test]
    fn an_unknown_device_is_named_with_those_that_there_are() {
        let message = read("device = \"gpu\"").unwrap_err();
        let cuda = if cfg!(feature = "cuda") { ", `cuda`" } else { "" };
        assert_eq!(
            message,
            format!(
                "`hrmc.toml`, line 1, column 10: there is no device `gpu`; there are `auto`, `cpu`, `reference`{cuda}"
            )
        );
    }

    #[test]
    fn more_threads_than_cores_are_warned_about_and_many_more_are_refused() {
        let checked = |threads, cores| {
            check_threads(threads, "`--threads N`", cores).map_err(|failure| match failure {
                Failure::Message(message) => message,
                other => format!("{other:?}"),
            })
        };
        assert_eq!(checked(2, 2), Ok(None));
        assert_eq!(
            checked(3, 2),
            Ok(Some(
                "warning: `--threads N`: there are 2 cores, so threads take turns and get slower; one for each core \
                 gives the same bytes"
                    .to_string()
            ))
        );
        assert!(checked(64, 2).is_ok_and(|warning| warning.is_some()));
        assert_eq!(
            checked(65, 2),
            Err("`--threads N` is too many: there are 2 cores, and threads beyond 32 for each core mostly wait for \
                 each other; use at most 64, best one for each core"
                .to_string())
        );
        assert!(checked(33, 1).expect_err("it is too many").contains("there is 1 core, "));
        assert!(checked(usize::MAX, usize::MAX).is_ok());
    }

    #[test]
    fn zero_threads_are_refused() {
        assert_eq!(read("threads = 0").unwrap_err(), "`hrmc.toml`: `threads` must be at least 1");
    }
}
