//! The program as operators meet it: help, settings, tokens, health, logs.

mod help;
mod log;
mod settings;
mod tools;
