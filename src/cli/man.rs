//! `kdata man`: the manual, out of the same texts as `--help`.

use std::io::Write;
use std::path::PathBuf;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::{Cli, Context};
use crate::error::{EXIT_CODES, Error, Result};

const EXAMPLES: &str = "\
Examples:
  kdata man | man -l -                  reads kdata(1)
  kdata man /usr/local/share/man/man1   kdata.1, kdata-extract.1 and so on";

/// Print the manual page, or write one page a subcommand into a folder
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Where the pages go
    folder: Option<PathBuf>,
}

/// Runs the command.
pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let mut cli = Cli::command();
    cli.build();
    let Some(folder) = &args.folder else {
        let page = page(&cli).map_err(Error::output)?;
        return context.printer.line(String::from_utf8_lossy(&page).trim_end());
    };
    std::fs::create_dir_all(folder)
        .and_then(|()| write(&cli, folder))
        .map_err(|e| Error::io(format!("cannot write the pages into {}", folder.display()), e))?;
    context.printer.remark(format!("man: written to {}", folder.display()));
    Ok(())
}

fn write(command: &Command, folder: &std::path::Path) -> std::io::Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    std::fs::write(folder.join(format!("{name}.1")), page(command)?)?;
    let inner = command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help");
    inner.into_iter().try_for_each(|command| write(command, folder))
}

fn page(command: &Command) -> std::io::Result<Vec<u8>> {
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let examples: Vec<&str> = examples.lines().skip(1).map(|line| line.trim_start_matches("  ")).collect();
    if !examples.is_empty() {
        verbatim(&mut page, "EXAMPLES", &examples)?;
    }
    let codes: Vec<String> =
        EXIT_CODES.iter().map(|(code, meaning)| format!("{code:>3}  {meaning}")).collect();
    verbatim(&mut page, "EXIT STATUS", &codes)?;
    Ok(page)
}

/// A section whose lines stand as they are.
fn verbatim(page: &mut Vec<u8>, title: &str, lines: &[impl AsRef<str>]) -> std::io::Result<()> {
    writeln!(page, ".SH \"{title}\"\n.nf")?;
    for line in lines {
        // `\&` keeps a dot at the beginning from being a request.
        writeln!(
            page,
            "\\&{}",
            line.as_ref().replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq")
        )?;
    }
    writeln!(page, ".fi")
}
