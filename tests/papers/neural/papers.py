"""What the tests of neural papers show: the source of the table in the documentation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Paper:
    """One paper's row.

    Parameters
    ----------
    title : str
        Method or authors, and year.
    names : str
        Public names here, separated by commas.
    test : str
        File of the test.
    shows : str
        What is asserted.
    found : str
        What was found, where it is not simply what was published.
    """

    title: str
    names: str
    test: str
    shows: str
    found: str = "as published"


PAPERS = (
    Paper(
        "Outrageously large networks, 2017", "NoisyTopKRouter, load_loss", "test_noisy_top_k.py",
        "noise alone spreads the units of a zero gate; the smooth load balances what counts cannot",
    ),
    Paper(
        "THOR, 2022", "RandomRouter, consistency_loss", "test_fixed_routing.py",
        "with consistency any expert may answer; without it experts go apart",
    ),
    Paper(
        "Hash layers and word experts, 2021, 2023", "TokenIdRouter", "test_fixed_routing.py",
        "a table of ids recalls facts that a learned top-1 gate forgets, over five seeds",
    ),
    Paper(
        "ST-MoE, 2022", "router_z_loss", "test_balance_losses.py",
        "scores are held down at little cost of fit",
    ),
    Paper(
        "Demons in the detail, 2025", "load_balancing_loss, sync_routing_stats",
        "test_balance_losses.py",
        "with micro-batches of one domain, balance over the global batch has the lower error and "
        "experts know more of domains",
    ),
    Paper(
        "HMoE, 2024", "HeterogeneousExperts, parameter_penalty_loss", "test_balance_losses.py",
        "less than half of the parameters are used",
        "the lower loss does not show: the error rises by about a fifth",
    ),
    Paper(
        "Skywork-MoE, 2024", "AdaptiveLossCoefficient", "test_balance_losses.py",
        "the coefficient falls from its maximum under collapse to little at balance",
    ),
    Paper(
        "Expert choice, 2022", "ExpertChoiceRouter", "test_expert_choice.py",
        "even loads by construction; the scope of the batch leaks, that of the sequence does not",
    ),
    Paper(
        "DSelect-k, 2021", "DSelectKRouter", "test_dselect_k.py",
        "outputs and gradients are continuous where top-k jumps; at convergence at most k experts",
    ),
    Paper(
        "COMET, 2023", "COMETRouter", "test_comet.py", "the entropy leads to one leaf a tree",
    ),
    Paper(
        "BlackMamba, 2024", "SinkhornRouter", "test_sinkhorn_routing.py",
        "loads are even in training without a balance loss",
    ),
    Paper(
        "Soft MoE, 2024", "SoftRouter", "test_soft_moe.py",
        "the published formulas; cost goes with the slots, and samples are independent",
    ),
    Paper(
        "Mixture of tokens, 2024", "TokenMixingRouter", "test_token_mixing.py",
        "causal, coupled over the batch, and no expert starves where top-k starves some",
    ),
    Paper(
        "Mixture of a million experts, 2024", "ProductKeyRouter, PEERLayer",
        "test_product_keys.py",
        "retrieval is exact, and a million experts are never scored one by one",
    ),
    Paper(
        "SparseMixer, 2023", "SparseMixerRouter", "test_sparse_mixer.py",
        "the gradient of a sampled choice is nearer to the exact one than Switch's",
    ),
    Paper(
        "ReMoE, 2025", "ReLURouter", "test_relu_routing.py",
        "outputs are continuous where top-k jumps; the controller holds the number of experts",
    ),
    Paper(
        "(GG) MoE vs. MLP, 2025", "GumbelRouter", "test_gumbel_gate.py",
        "noise sends a unit to experts as often as the softmax says; predictions repeat",
        "as published; figures on tables are in the benchmarks",
    ),
    Paper(
        "DS-MoE, 2024", "DenseRouter, mutual_information_loss", "test_dense_training.py",
        "with the loss, sparse prediction costs less than half as much",
        "not as published: training sparsely with two experts ends with a lower loss",
    ),
    Paper(
        "EvoMoE, 2022", "DenseToSparseRouter", "test_dense_training.py",
        "the gate becomes sparse as the temperature falls",
    ),
    Paper(
        "XMoE, top-p routing, adaptive gating, 2023 and 2024",
        "TopPRouter, AdaptiveTopKRouter, router_entropy_loss", "test_variable_number.py",
        "easy units take one expert and those between take two; entropy lowers the number",
        "nine tenths of the way from the loss of one expert to that of two",
    ),
    Paper(
        "AdaMoE, 2024", "ZeroExperts", "test_null_experts.py",
        "weights of true experts sum to one, null experts share the pressure of the balance loss",
    ),
    Paper(
        "SMILE, RMoE, Autonomy-of-Experts, 2022 and 2025",
        "HierarchicalRouter, RecurrentRouter, ActivationNormRouter", "test_layered_routers.py",
        "units visit few groups; late routing teaches early routers; experts that respond more are "
        "chosen more",
    ),
    Paper(
        "Task-MoE, conditional MoEs, task-aware gates, 2021 and 2022",
        "TaskRouter, ConditionalRouter", "test_task_routing.py",
        "a task's experts alone are the model of that task; conditions remove interference",
    ),
    Paper(
        "LLMoE, 2025", "CallableRouter", "test_external_gates.py",
        "a gate from texts helps where the text tells, and only there",
    ),
    Paper(
        "NeKo, GW-MoE, StableMoE, MaskMoE, 2022 to 2024",
        "PinnedRouter, BroadcastUncertain, DistilledRouter, MaskedRouter",
        "test_wrapped_routers.py",
        "pinned experts are found without ids; uncertain choices matter less; no token changes its "
        "expert after the switch; rare tokens are learned better",
        "MaskMoE's gain over a hash table on all tokens does not show: the table is ahead by eight "
        "per cent",
    ),
    Paper(
        "Buffer overflow, stealing user prompts, 2024", "CapacityLimiter, audit_batch_dependence",
        "test_attacks.py", "the attacks succeed on vulnerable settings and fail on the defaults",
    ),
)  # fmt: skip
