"""The LLM proxy of Oqto: virtual keys, money set aside before each call, every reply billed."""
