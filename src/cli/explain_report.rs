//! What `hrmc explain` says about models, side by side.

use serde::Serialize;

use super::terminal::{self, counted, percent};
use crate::chart::{
    AxisNumbers, AxisScale, Chart, ChartAxis, ChartPoint, PageSection, PageTable, Series, page,
};
use crate::explain::{
    AdaptiveHalting, Explanation, Participation, Residual, SegmentsReport, StateExplanation,
};
use crate::measures::{AnswerReport, RightBy, ScoreReport, Share};

/// Size of a figure that is a file of its own, in pixels.
const FIGURE: (u32, u32) = (720, 440);

/// A run, and what was found about it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExplainedRun {
    /// Its name beside the others.
    pub name: String,
    /// Its folder.
    pub run: String,
    /// The puzzles, as in `100 puzzles of …`.
    pub puzzles_of: String,
    /// What was found.
    #[serde(flatten)]
    pub explanation: Explanation,
}

/// A part of the report.
pub struct ExplainedPart {
    /// Name of its files.
    file: &'static str,
    section: PageSection,
}

/// Returns the share of right answers: by the rules where there are any, else by the label.
fn right(report: &AnswerReport) -> Share {
    match (report.right_by, report.valid) {
        (RightBy::Rules, Some(valid)) => valid,
        _ => report.exact,
    }
}

fn axis(name: &str, scale: AxisScale, numbers: AxisNumbers) -> ChartAxis {
    ChartAxis { name: name.to_string(), scale, numbers }
}

fn plain(name: &str) -> ChartAxis {
    axis(name, AxisScale::Linear, AxisNumbers::Plain)
}

fn share_axis(name: &str) -> ChartAxis {
    axis(name, AxisScale::Linear, AxisNumbers::Percent)
}

fn series(name: String, points: impl Iterator<Item = (f64, f64)>) -> Series {
    Series { name, points: points.map(|(x, y)| ChartPoint::at(x, y)).collect() }
}

/// Returns the name of a line: that of the run if there are several, and of the part.
fn line_name(runs: &[ExplainedRun], run: &ExplainedRun, part: &str) -> String {
    match (runs.len(), part) {
        (1, part) => part.to_string(),
        (_, "") => run.name.clone(),
        _ => format!("{}: {part}", run.name),
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or("-".to_string(), |value| format!("{value:.2}"))
}

fn share(share: &Share) -> String {
    share.share.map_or("-".to_string(), percent)
}

/// Returns the parts of the report.
pub fn parts(runs: &[ExplainedRun]) -> Vec<ExplainedPart> {
    let mut parts =
        vec![residuals(runs), components(runs), participation(runs), by_update(runs), by_segments(runs)];
    parts.extend(adaptive(runs));
    parts.push(settled(runs));
    parts.extend(calibration(runs));
    parts.extend(givens(runs));
    parts
}

/// Yields every state of every run.
fn states(runs: &[ExplainedRun]) -> impl Iterator<Item = (&ExplainedRun, &StateExplanation)> {
    runs.iter().flat_map(|run| run.explanation.states.iter().map(move |state| (run, state)))
}

fn residuals(runs: &[ExplainedRun]) -> ExplainedPart {
    let lines = states(runs).map(|(run, state)| {
        let points = state.residuals.iter().map(|found| (found.update as f64 + 1.0, found.residual));
        series(line_name(runs, run, &state.state), points)
    });
    let rows = states(runs).flat_map(|(run, state)| {
        state.residuals.iter().map(move |found| {
            vec![
                run.name.clone(),
                state.state.clone(),
                found.segment.to_string(),
                (found.update + 1).to_string(),
                format!("{:.6}", found.residual),
            ]
        })
    });
    ExplainedPart {
        file: "residuals",
        section: PageSection {
            heading: "How far the states move".to_string(),
            prose: vec![
                "The forward residual of a state: rms of its change at each of its updates, over positions and width, mean \
                 over the puzzles. A state that settles goes to 0."
                    .to_string(),
            ],
            charts: vec![Chart {
                title: "Forward residual".to_string(),
                x: plain("update, over all segments"),
                y: axis("rms of the change", AxisScale::Log10, AxisNumbers::Plain),
                series: lines.collect(),
            }],
            tables: vec![PageTable {
                caption: "Forward residual by update".to_string(),
                head: ["model", "state", "segment", "update", "residual"].map(String::from).to_vec(),
                rows: rows.collect(),
            }],
        },
    }
}

fn components(runs: &[ExplainedRun]) -> ExplainedPart {
    let mut charts = Vec::new();
    let mut rows = Vec::new();
    for (run, state) in states(runs) {
        let shares = &state.component_shares;
        let named = |at: usize| {
            let share = shares.get(at).copied().unwrap_or(0.0);
            format!("component {}, {} of the variance", at + 1, percent(share))
        };
        let lines = state.trajectories.iter().enumerate().map(|(puzzle, points)| {
            let points = points.iter().map(|&[x, y]| (x, y));
            series(format!("puzzle {}", puzzle + 1), points)
        });
        charts.push(Chart {
            title: format!("Trajectories of {}", line_name(runs, run, &state.state)),
            x: plain(&named(0)),
            y: plain(&named(1)),
            series: lines.collect(),
        });
        let cells = shares.iter().map(|&share| percent(share));
        rows.push([run.name.clone(), state.state.clone()].into_iter().chain(cells).collect());
    }
    // A state with few points has few components.
    let widest = rows.iter().map(Vec::len).max().unwrap_or(2);
    rows.iter_mut().for_each(|row: &mut Vec<String>| row.resize(widest, "-".to_string()));
    let most = widest - 2;
    let head = ["model".to_string(), "state".to_string()].into_iter();
    ExplainedPart {
        file: "components",
        section: PageSection {
            heading: "Where the states go".to_string(),
            prose: vec![
                "The trajectories of the first puzzles on the first two principal components of the points of all puzzles. \
                 A point is a state after one update, as the mean over its positions unless a position was asked for."
                    .to_string(),
            ],
            charts,
            tables: vec![PageTable {
                caption: "Shares of the variance of the principal components".to_string(),
                head: head.chain((1..=most).map(|at| at.to_string())).collect(),
                rows,
            }],
        },
    }
}

fn participation(runs: &[ExplainedRun]) -> ExplainedPart {
    let lines = states(runs).flat_map(|(run, state)| {
        let line = |name: &str, ratio: fn(&Participation) -> Option<f64>| {
            let points = state.participation.iter();
            let points = points.filter_map(|found| Some((found.trajectories as f64, ratio(found)?)));
            series(line_name(runs, run, name), points)
        };
        [
            line(&state.state, |found| found.trained),
            line(&format!("{}, untrained", state.state), |found| found.untrained),
        ]
    });
    let rows = states(runs).flat_map(|(run, state)| {
        state.participation.iter().map(move |found| {
            vec![
                run.name.clone(),
                state.state.clone(),
                found.trajectories.to_string(),
                number(found.trained),
                number(found.untrained),
            ]
        })
    });
    ExplainedPart {
        file: "participation",
        section: PageSection {
            heading: "How many dimensions they fill".to_string(),
            prose: vec![
                "The participation ratio of the points, (sum of eigenvalues)^2 / sum of squared eigenvalues of their \
                 covariance, for more and more trajectories. Untrained weights are drawn as at the beginning of a training. \
                 Published for HRM on Sudoku: 89.95 for the high state and 30.22 for the low one; untrained 40.75 and 42.09."
                    .to_string(),
            ],
            charts: vec![Chart {
                title: "Participation ratio".to_string(),
                x: plain("trajectories"),
                y: plain("dimensions"),
                series: lines.collect(),
            }],
            tables: vec![PageTable {
                caption: "Participation ratio by number of trajectories".to_string(),
                head: ["model", "state", "trajectories", "trained", "untrained"].map(String::from).to_vec(),
                rows: rows.collect(),
            }],
        },
    }
}

fn by_update(runs: &[ExplainedRun]) -> ExplainedPart {
    let lines = runs.iter().flat_map(|run| {
        let found = &run.explanation.by_update;
        let right = found.iter().map(|found| (found.update as f64 + 1.0, found.right));
        let cells = found.iter().map(|found| (found.update as f64 + 1.0, found.cells));
        [series(line_name(runs, run, "whole answers"), right), series(line_name(runs, run, "cells"), cells)]
    });
    let rows = runs.iter().flat_map(|run| {
        run.explanation.by_update.iter().map(move |found| {
            let state = &run.explanation.schedule[found.update % run.explanation.schedule.len()];
            vec![
                run.name.clone(),
                found.segment.to_string(),
                (found.update + 1).to_string(),
                state.clone(),
                percent(found.cells),
                percent(found.right),
                format!("{:.2}", found.changed),
            ]
        })
    });
    ExplainedPart {
        file: "updates",
        section: PageSection {
            heading: "What they would answer on the way".to_string(),
            prose: vec![
                "The heads read the states after every update. After an update of another state than theirs, the next \
                 update of their state is made first, and thrown away."
                    .to_string(),
            ],
            charts: vec![Chart {
                title: "Right answers by update".to_string(),
                x: plain("update, over all segments"),
                y: share_axis("right"),
                series: lines.collect(),
            }],
            tables: vec![PageTable {
                caption: "Answers by update".to_string(),
                head: ["model", "segment", "update", "state", "cells right", "right", "cells changed"]
                    .map(String::from)
                    .to_vec(),
                rows: rows.collect(),
            }],
        },
    }
}

fn by_segments(runs: &[ExplainedRun]) -> ExplainedPart {
    let lines = runs.iter().map(|run| Series {
        name: line_name(runs, run, ""),
        points: run
            .explanation
            .by_segments
            .iter()
            .map(|found| {
                let share = right(&found.report);
                let y = share.share.unwrap_or(f64::NAN);
                ChartPoint { x: found.segments as f64, y, band: Some((share.low, share.high)) }
            })
            .collect(),
    });
    let rows = runs.iter().flat_map(|run| {
        run.explanation.by_segments.iter().map(move |SegmentsReport { segments, report }| {
            let auc = report.drift.as_ref().and_then(|drift| drift.auc);
            vec![
                run.name.clone(),
                segments.to_string(),
                share(&right(report)),
                share(&report.cells),
                number(auc),
            ]
        })
    });
    ExplainedPart {
        file: "segments",
        section: PageSection {
            heading: "More segments at inference".to_string(),
            prose: vec!["One trained model, with fewer or more segments for every puzzle.".to_string()],
            charts: vec![Chart {
                title: "Right answers by segments".to_string(),
                x: axis("segments", AxisScale::Log2, AxisNumbers::Plain),
                y: share_axis("right"),
                series: lines.collect(),
            }],
            tables: vec![PageTable {
                caption: "Answers by segments; the area is that of a small drift as a sign of a right answer"
                    .to_string(),
                head: ["model", "segments", "right", "cells right", "area under the curve of drift"]
                    .map(String::from)
                    .to_vec(),
                rows: rows.collect(),
            }],
        },
    }
}

fn adaptive(runs: &[ExplainedRun]) -> Option<ExplainedPart> {
    let halting: Vec<&ExplainedRun> =
        runs.iter().filter(|run| !run.explanation.adaptive.is_empty()).collect();
    if halting.is_empty() {
        return None;
    }
    let of = |run: &&ExplainedRun, part: &str, y: &dyn Fn(&AdaptiveHalting) -> f64| {
        let points = run.explanation.adaptive.iter().map(|found| (found.most as f64, y(found)));
        series(line_name(runs, run, part), points)
    };
    let segments = halting.iter().map(|run| of(run, "adaptive", &|found| found.mean_segments));
    let right = halting.iter().flat_map(|run| {
        [of(run, "adaptive", &|found| found.right), of(run, "always all", &|found| found.right_with_all)]
    });
    let rows = halting.iter().flat_map(|run| {
        run.explanation.adaptive.iter().map(move |found| {
            vec![
                run.name.clone(),
                found.most.to_string(),
                format!("{:.2}", found.mean_segments),
                percent(found.right),
                percent(found.right_with_all),
            ]
        })
    });
    let chart = |title: &str, y: ChartAxis, series: Vec<Series>| Chart {
        title: title.to_string(),
        x: axis("most segments", AxisScale::Log2, AxisNumbers::Plain),
        y,
        series,
    };
    Some(ExplainedPart {
        file: "adaptive",
        section: PageSection {
            heading: "Adaptive halting".to_string(),
            prose: vec![
                "Puzzles that stop when the halting policy says so, at the latest after the most segments, against puzzles \
                 that always take all."
                    .to_string(),
            ],
            charts: vec![
                chart("Segments that puzzles take", plain("segments"), segments.collect()),
                chart("Right answers", share_axis("right"), right.collect()),
            ],
            tables: vec![PageTable {
                caption: "Adaptive halting by the most segments".to_string(),
                head: ["model", "most segments", "mean segments", "right", "right with all"]
                    .map(String::from)
                    .to_vec(),
                rows: rows.collect(),
            }],
        },
    })
}

/// Returns the report with as many segments as a trajectory has, else the last one.
fn main_report(run: &ExplainedRun) -> &AnswerReport {
    let reports = &run.explanation.by_segments;
    let own = reports.iter().find(|report| report.segments == run.explanation.segments);
    &own.or(reports.last()).expect("something is evaluated").report
}

fn settled(runs: &[ExplainedRun]) -> ExplainedPart {
    let coverage = runs.iter().flat_map(|run| {
        let report = main_report(run);
        let line = |part: &str, found: &Option<ScoreReport>| {
            let points = found.iter().flat_map(|found| &found.coverage);
            let points = points.filter_map(|point| Some((point.coverage, point.right.share?)));
            series(line_name(runs, run, part), points.collect::<Vec<_>>().into_iter())
        };
        [line("least drift first", &report.drift), line("highest q first", &report.q_halt)]
    });
    let rows = runs.iter().map(|run| {
        let report = main_report(run);
        let auc = |found: &Option<ScoreReport>| number(found.as_ref().and_then(|found| found.auc));
        vec![run.name.clone(), share(&right(report)), auc(&report.drift), auc(&report.q_halt)]
    });
    ExplainedPart {
        file: "settled",
        section: PageSection {
            heading: "Settled, and right".to_string(),
            prose: vec![
                "Whether a state that has settled stands for a right answer. The area under the curve is the probability \
                 that of a right and a wrong answer, the right one drifted less in its last segment. Published: 0.98 to \
                 0.99."
                    .to_string(),
            ],
            charts: vec![Chart {
                title: "Right answers among those that have settled most".to_string(),
                x: share_axis("share of the puzzles that are answered"),
                y: share_axis("right"),
                series: coverage.filter(|series| !series.points.is_empty()).collect(),
            }],
            tables: vec![PageTable {
                caption: "Drift and q as signs of a right answer".to_string(),
                head: ["model", "right", "area, drift", "area, q"].map(String::from).to_vec(),
                rows: rows.collect(),
            }],
        },
    }
}

fn calibration(runs: &[ExplainedRun]) -> Option<ExplainedPart> {
    let calibrated = runs.iter().filter_map(|run| Some((run, main_report(run).calibration.as_ref()?)));
    let calibrated: Vec<_> = calibrated.collect();
    if calibrated.is_empty() {
        return None;
    }
    let lines = calibrated.iter().map(|(run, found)| {
        let points = found.bins.iter().filter_map(|bin| Some((bin.mean_predicted?, bin.right.share?)));
        series(line_name(runs, run, "q"), points)
    });
    let rows = calibrated.iter().flat_map(|(run, found)| {
        found.bins.iter().map(move |bin| {
            vec![
                run.name.clone(),
                format!("{} to {}", percent(bin.from), percent(bin.to)),
                bin.right.of.to_string(),
                bin.mean_predicted.map_or("-".to_string(), percent),
                share(&bin.right),
            ]
        })
    });
    Some(ExplainedPart {
        file: "calibration",
        section: PageSection {
            heading: "What the model's own estimate is worth".to_string(),
            prose: vec![
                "The share of right answers among those whose estimate (the sigmoid of q) lies in each tenth.".to_string(),
            ],
            charts: vec![Chart {
                title: "Calibration of q".to_string(),
                x: share_axis("estimated"),
                y: share_axis("right"),
                series: lines.collect(),
            }],
            tables: vec![PageTable {
                caption: "Calibration of q".to_string(),
                head: ["model", "estimate", "puzzles", "estimated", "right"].map(String::from).to_vec(),
                rows: rows.collect(),
            }],
        },
    })
}

fn givens(runs: &[ExplainedRun]) -> Option<ExplainedPart> {
    let mut tables = Vec::new();
    let mut lines = Vec::new();
    for run in runs {
        let Some(sudoku) = &main_report(run).sudoku else { continue };
        let points =
            sudoku.by_givens.iter().filter_map(|group| Some((f64::from(group.from?), group.exact.share?)));
        lines.push(series(line_name(runs, run, "exact"), points));
        for (what, groups) in [("givens", &sudoku.by_givens), ("rating", &sudoku.by_rating)] {
            let rows: Vec<Vec<String>> = groups
                .iter()
                .map(|group| {
                    vec![run.name.clone(), group.label(), group.rows.to_string(), share(&group.exact)]
                })
                .collect();
            if !rows.is_empty() {
                tables.push(PageTable {
                    caption: format!("Exact answers of {} by {what}", run.name),
                    head: ["model", what, "puzzles", "exact"].map(String::from).to_vec(),
                    rows,
                });
            }
        }
    }
    (!lines.is_empty()).then(|| ExplainedPart {
        file: "givens",
        section: PageSection {
            heading: "Unknown cells and rating".to_string(),
            prose: vec![
                "Exact answers by the number of digits that the question gives, and by how hard it is."
                    .to_string(),
            ],
            charts: vec![Chart {
                title: "Exact answers by givens".to_string(),
                x: plain("givens"),
                y: share_axis("exact"),
                series: lines,
            }],
            tables,
        },
    })
}

/// Returns everything as one page.
pub fn page_text(runs: &[ExplainedRun], parts: &[ExplainedPart]) -> String {
    let sections: Vec<PageSection> = parts.iter().map(|part| part.section.clone()).collect();
    page(&title(runs), &lead(runs), &sections)
}

fn title(runs: &[ExplainedRun]) -> String {
    let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    match names[..] {
        [one] => format!("What {one} does"),
        [ref most @ .., last] => format!("What {} and {last} do", most.join(", ")),
        [] => unreachable!("at least one run is explained"),
    }
}

fn lead(runs: &[ExplainedRun]) -> Vec<String> {
    let about = |run: &ExplainedRun| {
        let Explanation { segments, schedule, .. } = &run.explanation;
        format!(
            "{} ({}): {}, {} of {} for each trajectory.",
            run.name,
            run.run,
            run.puzzles_of,
            counted(*segments, "segment"),
            counted(schedule.len(), "update")
        )
    };
    runs.iter().map(about).collect()
}

/// Returns the figures and tables as files: their names and contents.
pub fn tables(parts: &[ExplainedPart]) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for ExplainedPart { file, section } in parts {
        let several = section.charts.len() > 1;
        for (at, chart) in section.charts.iter().enumerate() {
            let name = if several { format!("{file}-{}.svg", at + 1) } else { format!("{file}.svg") };
            files.push((name, chart.to_svg(FIGURE.0, FIGURE.1)));
        }
        let several = section.tables.len() > 1;
        for (at, table) in section.tables.iter().enumerate() {
            let name = if several { format!("{file}-{}.csv", at + 1) } else { format!("{file}.csv") };
            files.push((name, terminal::csv_text(std::iter::once(&table.head).chain(&table.rows))));
        }
    }
    files
}

/// Returns what is said in the terminal.
pub fn summary(runs: &[ExplainedRun]) -> String {
    let mut text = String::new();
    for line in lead(runs) {
        text.push_str(&format!("{line}\n"));
    }
    let cells = |cells: &[&str]| (cells.iter().map(ToString::to_string).collect::<Vec<_>>(), String::new());
    let mut state_lines =
        vec![cells(&["model", "state", "first residual", "last residual", "dimensions", "untrained"])];
    let mut answers = vec![cells(&["model", "segments", "right", "cells", "area of drift"])];
    for (run, state) in states(runs) {
        let residual = |found: Option<&Residual>| {
            found.map_or("-".to_string(), |found| format!("{:.4}", found.residual))
        };
        let dimensions = state.participation.last();
        state_lines.push((
            vec![
                run.name.clone(),
                state.state.clone(),
                residual(state.residuals.first()),
                residual(state.residuals.last()),
                number(dimensions.and_then(|found| found.trained)),
                number(dimensions.and_then(|found| found.untrained)),
            ],
            String::new(),
        ));
    }
    for run in runs {
        for SegmentsReport { segments, report } in &run.explanation.by_segments {
            let auc = report.drift.as_ref().and_then(|drift| drift.auc);
            answers.push((
                vec![
                    run.name.clone(),
                    segments.to_string(),
                    share(&right(report)),
                    share(&report.cells),
                    number(auc),
                ],
                String::new(),
            ));
        }
    }
    format!("{text}\n{}\n{}", terminal::columns(&state_lines), terminal::columns(&answers))
}
