"""The record of one scorer on one suite: its form, its files, and how it is found."""
