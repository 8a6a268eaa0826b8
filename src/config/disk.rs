//! Where the configuration lies: read from, and replaced whole in, the data folder.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{Config, ConfigError, ConfigFile};

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

/// Replaces a file, readable by its owner alone. Durable when it returns; a power cut before that
/// leaves the former content.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    match path.parent() {
        // A rename is only durable once its folder is.
        Some(folder) if folder != Path::new("") => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
