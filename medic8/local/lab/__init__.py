"""The lab: faults made for real, behind Medic8's back, on the local stack's own Valkey and nowhere else."""
