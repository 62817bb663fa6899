//! `kdata explain`: what a rule means, and why.

use super::{Context, printer};
use crate::dataset::{self, Rule, rule};
use crate::error::{Error, Result};
use crate::source;

/// Say what a rule means, and why
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  kdata explain ohlcv.within_limits\n  kdata explain --list")]
pub(super) struct Args {
    /// The rule, as it stands in marks, tables and reports
    #[arg(required_unless_present = "list")]
    rule: Option<String>,
    /// List all rules
    #[arg(long)]
    list: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let rules = all();
    let Some(name) = args.rule.as_deref().filter(|_| !args.list) else {
        let rows: Vec<Vec<String>> = rules
            .iter()
            .map(|r| vec![r.name.to_owned(), r.severity.as_str().to_owned(), r.says.to_owned()])
            .collect();
        return context.printer.line(printer::table(&["rule", "severity", "broken when"], &rows, &[], None));
    };
    let Some(rule) = rules.iter().find(|r| r.name == name) else {
        let close = rules.iter().filter(|r| r.name.contains(name)).map(|r| r.name).collect::<Vec<_>>();
        let hint = match close.as_slice() {
            [] => "`kdata explain --list` lists all rules".to_owned(),
            names => format!("did you mean {}?", names.join(", ")),
        };
        return Err(Error::usage(format!("there is no rule {name}"), hint));
    };
    context.printer.line(format!(
        "{}\n\n  broken when  {}\n  severity     {}\n  looks at     {}\n\n{}",
        rule.name,
        rule.says,
        rule.severity.as_str(),
        rule.scope.as_str(),
        wrap(rule.why, 78)
    ))
}

fn all() -> Vec<&'static Rule> {
    let of_datasets = dataset::ALL.iter().flat_map(|d| d.rules());
    rule::STREAM_RULES
        .iter()
        .chain(rule::LEDGER_RULES)
        .copied()
        .chain(of_datasets)
        .chain(source::rules())
        .collect()
}

fn wrap(text: &str, width: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("a line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.len() + 1 + word.len() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.join("\n")
}
