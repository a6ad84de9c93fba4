//! The program as operators meet it: help, settings, tokens, health.

#[path = "config/help.rs"]
mod help;
#[path = "config/settings.rs"]
mod settings;
#[path = "config/tools.rs"]
mod tools;
