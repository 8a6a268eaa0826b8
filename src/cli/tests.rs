use clap::CommandFactory;

use super::Cli;

#[test]
fn every_command_has_help_with_an_example() {
    fn look(command: &clap::Command, name: &str) {
        let below: Vec<_> =
            command.get_subcommands().filter(|command| command.get_name() != "help").collect();
        for command in &below {
            look(command, &format!("{name} {}", command.get_name()));
        }
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(!below.is_empty() || help.contains(&format!("  {name}")), "{name}: {help:?}");
    }
    look(&Cli::command(), "pillarbox");
}
