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
        use std::process::{Command, Stdio};
        let mut child = Command::new(&self.binary)
            .current_dir(self.folder.path())
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let metrics = self.path("runs/tiny-001/metrics.jsonl");
        while fs::metadata(&metrics).map_or(0, |file| file.len()) == 0 {
            assert!(
                child.try_wait().expect("the child can be asked").is_none(),
                "it trains until it is stopped"
            );
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let signalled = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        assert!(signalled.expect("kill runs").success());
        Said::of(child.wait_with_output().expect("the child ends"))
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
