"""What an agent may do: files of TOML in layers, merged so that a later layer can only restrict."""
