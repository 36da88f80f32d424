//! Runs our programs against a real cluster: for the tests here and for the demo.
