//! `hrmc plot`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::curves::{self, Against, LoggedLine, LoggedQuantity, LoggedRun, PlotFigure, RunGroup};
use super::event_files;
use super::failure::Failure;
use super::terminal::{self, duration, grouped, path_text, percent};
use crate::chart::{AxisScale, Chart, Glyphs, PageSection, PageTable, column, page};

const EXAMPLES: &str = "\
Examples:
  hrmc plot runs/quickstart-001                          loss and accuracies, in the terminal
  hrmc plot runs/quickstart-001 -o curves.html           the same as a page; .svg for a picture
  hrmc plot runs/quickstart-* --x flops --y exact        several runs, named by their differences
  hrmc plot runs/quickstart-001 --y gradient-norm --log
  hrmc plot runs/quickstart-00* -o curves.csv            every line of every run, for other programs
  hrmc plot runs/quickstart-* --to tensorboard -o events   show them with `tensorboard --logdir events`";

/// Draw the curves of runs: in the terminal, as a picture, as a page, or as a table.
///
/// Training has a point for each of at most 100 windows of steps, and evaluation one for each evaluation. Several runs are
/// named by the values in which their specs differ. Runs that differ in their seed alone are one curve, the mean over the
/// seeds, with a band of one standard deviation up and down. A run that is in training can be drawn, too.
///
/// A picture or a page needs nothing from elsewhere. A table has every line as it was written, one row for a step or an
/// evaluation.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Folders of runs
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// Write to a file: `.svg`, `.html` or `.csv`, or with `--to tensorboard` a folder [default: draw in the terminal]
    #[arg(short, long, value_name = "FILE", conflicts_with = "json")]
    output: Option<PathBuf>,
    /// What to write, where the name of the file does not say it
    #[arg(long, value_name = "FORM", conflicts_with = "json")]
    to: Option<PlotForm>,
    /// What is drawn from left to right
    #[arg(long, value_name = "X", default_value = "step")]
    x: Against,
    /// What is drawn from bottom to top, with commas between [default: loss,accuracy,exact; of a table: everything]
    #[arg(long, value_name = "Y,…", value_delimiter = ',')]
    y: Vec<LoggedQuantity>,
    /// Draw values with equal ratios equally far apart
    #[arg(long)]
    log: bool,
    /// Draw each run on its own, also those that differ in their seed alone
    #[arg(long)]
    each: bool,
    /// Draw in the terminal with plain ASCII
    #[arg(long, conflicts_with_all = ["output", "to", "json"])]
    ascii: bool,
    /// Write the curves as JSON to standard output
    #[arg(long)]
    json: bool,
}

/// What the curves become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PlotForm {
    /// A picture
    Svg,
    /// A page
    Html,
    /// A table
    Csv,
    /// Event files of TensorBoard, in a folder for each run
    Tensorboard,
}

/// What is drawn unless the user says otherwise.
const USUAL: [LoggedQuantity; 3] = [LoggedQuantity::Loss, LoggedQuantity::Accuracy, LoggedQuantity::Exact];

/// Size of a chart of a picture, in pixels.
const PICTURE: (u32, u32) = (720, 400);

/// Runs `hrmc plot`.
///
/// # Errors
///
/// Returns a failure if a run cannot be read, its curves cannot be drawn as asked, or a file cannot be written.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let form = arguments.form()?;
    let runs = arguments.runs.iter().map(|path| LoggedRun::open(path));
    let groups = curves::grouped(runs.collect::<Result<Vec<_>, _>>()?, arguments.each);
    let plot = Plotting { arguments, groups: &groups };
    let output = arguments.output.as_deref();
    match form {
        _ if arguments.json => terminal::print_json(&plot.to_json()?),
        Some(PlotForm::Csv) => terminal::print_to(output, &plot.table()),
        Some(PlotForm::Svg) => terminal::print_to(output, &column(&plot.all_charts()?, PICTURE.0, PICTURE.1)),
        Some(PlotForm::Html) => terminal::print_to(output, &plot.page()?),
        Some(PlotForm::Tensorboard) => plot.write_events(),
        None => terminal::print(plot.text()?),
    }
}

impl Arguments {
    /// Returns what the curves become; `None` for a drawing in the terminal.
    fn form(&self) -> Result<Option<PlotForm>, Failure> {
        let Some(file) = &self.output else { return Ok(self.to) };
        if self.to.is_some() {
            return Ok(self.to);
        }
        let extension = file.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        match PlotForm::from_str(&extension, true) {
            Ok(form) => Ok(Some(form)),
            Err(_) => Err(Failure::message(format!(
                "cannot tell the form of `{}` from its name; expected one that ends in `.svg`, `.html` or `.csv`, or `--to`",
                file.display()
            ))),
        }
    }

    fn quantities(&self) -> Vec<LoggedQuantity> {
        if self.y.is_empty() { USUAL.to_vec() } else { self.y.clone() }
    }
}

/// Curves as they are asked for.
struct Plotting<'a> {
    arguments: &'a Arguments,
    groups: &'a [RunGroup],
}

impl Plotting<'_> {
    fn figures(&self) -> Result<Vec<PlotFigure>, Failure> {
        let quantities = self.arguments.quantities().into_iter();
        quantities.map(|quantity| curves::figure(self.groups, quantity, self.arguments.x)).collect()
    }

    /// Returns the charts of each quantity.
    fn charts(&self) -> Result<Vec<(LoggedQuantity, Vec<Chart>)>, Failure> {
        let scale = if self.arguments.log { AxisScale::Log10 } else { AxisScale::Linear };
        let charts =
            |figure: &PlotFigure| (figure.quantity, figure.charts(self.groups, self.arguments.x, scale));
        Ok(self.figures()?.iter().map(charts).collect())
    }

    /// Returns the charts of all quantities.
    fn all_charts(&self) -> Result<Vec<Chart>, Failure> {
        Ok(self.charts()?.into_iter().flat_map(|(_, charts)| charts).collect())
    }

    fn text(&self) -> Result<String, Failure> {
        let columns = terminal::output_columns().max(60);
        let glyphs = if self.arguments.ascii { Glyphs::Ascii } else { Glyphs::Braille };
        let charts = self.all_charts()?;
        Ok(charts.iter().map(|chart| chart.to_text(columns, glyphs)).collect::<Vec<_>>().join("\n"))
    }

    fn page(&self) -> Result<String, Failure> {
        let runs: Vec<&LoggedRun> = self.groups.iter().flat_map(|group| &group.runs).collect();
        let title = match (&runs[..], self.groups) {
            ([run], _) => format!("Training of {}", run.name()),
            (_, [group]) => format!("Training of {}", group.label),
            _ => format!("{} runs", grouped(runs.len() as u64)),
        };
        let mut lead = vec![
            "A point of a training is the mean over a window of steps, one of an evaluation that over all its rows."
                .to_string(),
        ];
        if self.groups.iter().any(|group| group.runs.len() > 1) {
            lead.push(
                "Runs that differ in their seed alone are one curve: their mean, with a band of one standard deviation \
                 up and down."
                    .to_string(),
            );
        }
        let mut sections = vec![PageSection {
            heading: "Runs".to_string(),
            tables: vec![self.runs_table()],
            ..PageSection::default()
        }];
        for (quantity, charts) in self.charts()? {
            let heading = curves::capitalized(quantity.name());
            sections.push(PageSection { heading, charts, ..PageSection::default() });
        }
        Ok(page(&title, &lead, &sections))
    }

    /// Returns a table with a row for each run.
    fn runs_table(&self) -> PageTable {
        let head = ["run", "drawn as", "steps", "best exact", "last loss", "time of training"];
        let share = |value: Option<f64>| value.map_or("-".to_string(), percent);
        let row = |group: &RunGroup, run: &LoggedRun| {
            let loss = run.last_evaluation().map(|line| line.means().loss);
            vec![
                path_text(&run.path),
                group.label.clone(),
                grouped(run.steps()),
                share(run.best_exact()),
                loss.map_or("-".to_string(), |loss| format!("{loss:.4}")),
                run.seconds().map_or("-".to_string(), duration),
            ]
        };
        let rows = self.groups.iter().flat_map(|group| group.runs.iter().map(move |run| row(group, run)));
        PageTable {
            caption: "Steps that were done; accuracy and loss of evaluations".to_string(),
            head: head.map(str::to_string).to_vec(),
            rows: rows.collect(),
        }
    }

    /// Returns a row for each line of each run, as CSV.
    fn table(&self) -> String {
        let all = LoggedQuantity::value_variants().to_vec();
        let quantities = if self.arguments.y.is_empty() { all } else { self.arguments.y.clone() };
        let head = ["run", "name", "of", "step", "epochs", "seconds", "flops", "count"].map(str::to_string);
        let keys = quantities.iter().map(|quantity| quantity.key().to_string());
        let mut rows = vec![head.into_iter().chain(keys).collect()];
        for group in self.groups {
            for run in &group.runs {
                for measured in run.measured() {
                    let mut row = vec![path_text(&run.path), group.label.clone()];
                    row.extend(cells(&measured, &quantities));
                    rows.push(row);
                }
            }
        }
        terminal::csv_text(&rows)
    }

    /// Writes event files to a folder for each run. They have every line as it was written, whatever is to be drawn.
    fn write_events(&self) -> Result<(), Failure> {
        let Some(folder) = &self.arguments.output else {
            return Err(Failure::message(
                "event files need a folder; say which with `-o DIR`, and show it with `tensorboard --logdir DIR`",
            ));
        };
        let runs = self.groups.iter().flat_map(|group| &group.runs);
        let names: Vec<(&LoggedRun, String)> = runs.map(|run| (run, run.name())).collect();
        if let Some((run, name)) = names.iter().enumerate().find_map(|(index, named)| {
            names[..index].iter().any(|(_, other)| *other == named.1).then_some(named)
        }) {
            return Err(Failure::message(format!(
                "there are two runs called `{name}`, one of them `{}`; write them to different folders",
                run.path.display()
            )));
        }
        names.iter().try_for_each(|(run, name)| event_files::write_run(run, &folder.join(name)))
    }

    fn to_json(&self) -> Result<serde_json::Value, Failure> {
        let runs = self.groups.iter().flat_map(|group| {
            group.runs.iter().map(|run| {
                json!({
                    "run": path_text(&run.path),
                    "name": group.label,
                    "step": run.steps(),
                    "seconds": run.seconds(),
                    "best_exact_accuracy": run.best_exact(),
                })
            })
        });
        let figures = self.figures()?;
        Ok(json!({
            "x": self.arguments.x.key(),
            "runs": runs.collect::<Vec<_>>(),
            "figures": figures.iter().map(|figure| figure.to_json(self.groups)).collect::<Vec<_>>(),
        }))
    }
}

/// Returns the cells of a measurement; what is not known is empty.
fn cells(measured: &LoggedLine<'_>, quantities: &[LoggedQuantity]) -> Vec<String> {
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let mut cells = vec![
        measured.of.name().to_string(),
        measured.line.step().to_string(),
        number(measured.epochs),
        number(measured.times.map(|times| times.seconds)),
        number(measured.flops),
        measured.line.means().count.to_string(),
    ];
    cells.extend(quantities.iter().map(|quantity| number(quantity.of(measured))));
    cells
}
