//! Where a row came from: the answers that were kept, or the file. Asks no source anything.

use std::path::Path;

use chrono::{Datelike, NaiveDate};

use super::Source;
use super::http::Spool;
use crate::dataset::Dataset;
use crate::settings::Settings;

/// So many answers are told.
const MOST: usize = 3;

/// The places where a row of a session, and of a code where it is known, may be looked at again. `state` is the folder
/// that the spool is in.
pub fn trace(
    source: Source,
    dataset: &Dataset,
    session: NaiveDate,
    code: Option<&str>,
    settings: &Settings,
    state: &Path,
) -> Vec<String> {
    match source {
        Source::Sim => vec!["the simulated market".into()],
        Source::Marcap => settings
            .marcap
            .iter()
            .filter(|place| !place.contains('@'))
            .map(|place| format!("marcap-{} in {}", session.year(), place.trim_end_matches('/')))
            .collect(),
        Source::Csv => settings
            .csv
            .folder
            .iter()
            .map(|folder| folder.join(format!("{}.csv", dataset.name)).display().to_string())
            .collect(),
        _ => {
            let folder = settings.http.archive.clone().unwrap_or_else(|| state.join("spool"));
            let answers = Spool::look(&folder.join(source.name()), session, code, MOST);
            answers.into_iter().map(|(path, request)| format!("{}: {request}", path.display())).collect()
        }
    }
}
