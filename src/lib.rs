//! kdata brings Korean stock market data from its sources into one PostgreSQL database.

pub mod dataset;
pub mod error;
pub mod market;
pub mod settings;
pub mod stream;
