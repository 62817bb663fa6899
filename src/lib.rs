//! kdata brings Korean stock market data from its sources into one PostgreSQL database.

pub mod cli;
pub mod dataset;
pub mod db;
pub mod error;
pub mod market;
pub mod settings;
pub mod source;
pub mod stage;
pub mod stream;
