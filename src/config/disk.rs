//! Where the configuration lies: read from, and replaced whole in, the data folder.

use std::fs;
use std::io;
use std::path::Path;

use super::{Config, ConfigError, ConfigFile};
use crate::files::write_private;

/// Its name in the data folder, on the boot partition, and in messages.
pub const FILE_NAME: &str = "pillarbox.toml";

/// Reads and validates a configuration. A missing file is a new box.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    load_file(path)?.resolve(FILE_NAME)
}

/// Reads a configuration as written. A missing file is an empty one.
pub fn load_file(path: &Path) -> Result<ConfigFile, ConfigError> {
    match fs::read_to_string(path) {
        Ok(text) => ConfigFile::parse(&text, FILE_NAME),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(ConfigFile::default()),
        Err(source) => Err(ConfigError::Unreadable { path: path.to_owned(), source }),
    }
}

/// Writes a configuration, after making sure that it could be read again.
pub fn save(path: &Path, file: &ConfigFile) -> Result<Config, ConfigError> {
    let config = file.resolve(FILE_NAME)?;
    let text = file.to_text()?;
    write_private(path, text.as_bytes())
        .map_err(|source| ConfigError::Unsaved { path: path.to_owned(), source })?;
    Ok(config)
}
