# SPDX-License-Identifier: Apache-2.0
"""Running `ansible-playbook` as a program: nothing here imports Ansible."""
