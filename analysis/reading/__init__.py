"""Answers from anywhere in, a checked table of trials and what is known of their study out."""
