"""Folds that build Nightscout documents, one module for each kind of document."""
