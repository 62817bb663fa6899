//! Floor 4: the stages, functions from input to output. They know nothing of the command line.

pub mod extract;
pub mod load;
pub mod promote;
pub mod report;
pub mod rollback;
pub mod validate;
