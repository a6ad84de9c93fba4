//! The program as operators meet it: help, settings, tokens, health.

mod help;
mod settings;
mod tools;
