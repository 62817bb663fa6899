//! stub
use super::Job;
use crate::error::Result;
use crate::stream::{Preamble, Writer};
use std::io::Write;
/// stub
pub struct Extract;
impl Extract {
    /// stub
    pub fn open(_: &Job) -> Result<Self> {
        Ok(Self)
    }
    /// stub
    pub fn preamble(&self, job: &Job) -> Preamble {
        job.preamble(super::Source::Sim, crate::stream::Names::Whole, "all")
    }
    /// stub
    pub fn write<W: Write>(self, _: &Job, _: &mut Writer<W>) -> Result<()> {
        Ok(())
    }
}
