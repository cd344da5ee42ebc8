"""Tests of detection sets."""
