//! Running the command line in a folder of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use tempfile::TempDir;

/// A folder in which commands run; it goes away with the value.
pub struct Workplace {
    binary: PathBuf,
    folder: TempDir,
}

impl Workplace {
    /// Makes an empty folder for command lines of `binary`.
    pub fn new(binary: impl Into<PathBuf>) -> Workplace {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        Workplace { binary: binary.into(), folder }
    }

    /// Returns the path of a file in the folder.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file in the folder.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("the folder can be written");
    }

    /// Returns a command line, its arguments separated by spaces.
    pub fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command.current_dir(self.folder.path()).args(arguments.split_whitespace());
        command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
        command
    }

    /// Starts a command line, waits until the run `tiny-001` has written a metric, and presses Ctrl-C.
    #[cfg(unix)]
    pub fn interrupt(&self, arguments: &[&str]) -> Said {
        let mut running = self.start(arguments);
        running.wait_for_metrics();
        running.signal("INT");
        running.end()
    }

    /// Starts a command line, and returns while it runs.
    #[cfg(unix)]
    pub fn start(&self, arguments: &[&str]) -> Running<'_> {
        self.start_program(&self.binary, arguments)
    }

    /// Starts a program in the folder, and returns while it runs.
    #[cfg(unix)]
    pub fn start_program(&self, program: &Path, arguments: &[&str]) -> Running<'_> {
        let said = tempfile::tempdir().expect("a temporary folder can be made");
        let file = |name| fs::File::create(said.path().join(name)).expect("the file can be made");
        let child = std::process::Command::new(program)
            .current_dir(self.folder.path())
            .args(arguments)
            .stdout(file("out"))
            .stderr(file("err"))
            .spawn()
            .expect("the program runs");
        Running { place: self, child, said }
    }

    /// Runs a command line and returns what it said.
    pub fn run(&self, arguments: &str) -> Said {
        Said::of(self.command(arguments).output().expect("the binary runs"))
    }

    /// Runs a command line that must succeed and returns its standard output.
    pub fn succeed(&self, arguments: &str) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, Some(0), "`hrmc {arguments}` failed: {}", said.err);
        said.out
    }

    /// Runs a command line that must fail because of the user and returns its one message.
    pub fn fail(&self, arguments: &str) -> String {
        let said = self.run(arguments);
        said.assert_one_message(arguments);
        said.err
    }
}

/// A command that runs; one that is left behind is killed.
#[cfg(unix)]
pub struct Running<'a> {
    place: &'a Workplace,
    child: std::process::Child,
    /// Holds what it writes.
    said: TempDir,
}

#[cfg(unix)]
impl Running<'_> {
    /// Waits until something has happened that the command does before its end.
    pub fn wait_until(&mut self, what: &str, mut has_happened: impl FnMut(&Self) -> bool) {
        while !has_happened(self) {
            let ended = self.child.try_wait().expect("the child can be asked");
            assert!(ended.is_none(), "it ended before {what}: {}", self.err());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Waits until the run `tiny-001` has written a metric.
    pub fn wait_for_metrics(&mut self) {
        let metrics = self.place.path("runs/tiny-001/metrics.jsonl");
        self.wait_until("its first step", |_| fs::metadata(&metrics).is_ok_and(|file| file.len() > 0));
    }

    /// Waits until it has said something on standard error.
    pub fn wait_for_words(&mut self, words: &str) {
        self.wait_until(words, |running| running.err().contains(words));
    }

    /// Returns what it has written to standard error so far.
    pub fn err(&self) -> String {
        fs::read_to_string(self.said.path().join("err")).expect("hrmc writes UTF-8")
    }

    /// Returns the number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let sent =
            std::process::Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits for its end.
    pub fn end(mut self) -> Said {
        let code = self.child.wait().expect("the child ends").code();
        let out = fs::read_to_string(self.said.path().join("out")).expect("hrmc writes UTF-8");
        Said { code, out, err: self.err() }
    }
}

#[cfg(unix)]
impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a command said.
pub struct Said {
    /// Exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// Takes the output of a process.
    pub fn of(output: Output) -> Said {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("hrmc writes UTF-8");
        Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Asserts exit code 1, one error, no colour and no panic.
    pub fn assert_one_message(&self, arguments: &str) {
        assert_eq!(self.code, Some(1), "`hrmc {arguments}`: {}", self.err);
        let errors = self.err.lines().filter(|line| line.starts_with("error")).count();
        assert_eq!(errors, 1, "`hrmc {arguments}`: {}", self.err);
        assert!(!self.err.contains("panicked"), "`hrmc {arguments}`: {}", self.err);
        assert!(!self.err.contains('\u{1b}'), "`hrmc {arguments}`: {}", self.err);
    }
}

/// Returns the path of a spec that hrmc ships.
pub fn shipped(name: &str) -> String {
    repository().join("specs").join(name).display().to_string()
}

/// Returns the root of the repository.
pub fn repository() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).expect("this package lies in a folder of the repository")
}

/// A model that trains a step in a millisecond: 4x4 Sudoku, one block per network.
pub const TINY: &str = "\
model tiny {
  tokens  { vocab = 6, positions = 16 }
  puzzles { width = 16 }

  block encoder { hidden = 16, heads = 2, mlp = swiglu(width = 16) }

  network low  = 1 * encoder
  network high = 1 * encoder

  state z_low, z_high = normal(std = 1, truncate = 2)

  segment {
    z_low  <- low(z_low + z_high + x)
    z_high <- high(z_high + z_low)
  }
  gradient one_step

  predict tokens from z_high
  predict q from z_high[0] { outputs = (halt, continue), bias = -5 }

  halt q_learning { max_segments = 3, explore = 0.5 }
}

train {
  data       = sudoku(size = 4, givens = 8, train = 40, test = 9, augment = true)
  optimizer  = adam_atan2(lr = 1e-3, betas = (0.9, 0.95), weight_decay = 0.1)
  puzzles    = sign_sgd(lr = 1e-3, weight_decay = 0.1)
  ema        = 0.9
  schedule   = cosine(warmup_steps = 3, min_ratio = 0.1)
  batch      = 4
  steps      = 20
  eval_every = 8 steps
  seed       = 3
}
";
