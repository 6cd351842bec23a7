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
        What was found of the paper's claim; by default the claim was not put to the test. Errors
        are of layers trained alike on the same rows (`learning`, `comparisons`); t is of paired
        differences over five seeds, and a claim shows from 2.13 on.
    """

    title: str
    names: str
    test: str
    shows: str
    found: str = "mechanism alone: not trained against a baseline"


AS_PUBLISHED = "as published"


PAPERS = (
    Paper(
        "Outrageously large networks, 2017", "NoisyTopKRouter, load_loss", "test_noisy_top_k.py",
        "noise alone spreads the units of a zero gate; the smooth load balances what counts "
        "cannot; with both losses the error is lower in every seed and the loads vary less than "
        "half as much",
        "error 42% lower on average",
    ),
    Paper(
        "Switch Transformer, 2022", "SwitchRouter, load_balancing_loss", "test_switch.py",
        "at equal active parameters the error falls from a dense layer to two, four and eight "
        "experts; the balance loss lowers it and keeps loads even",
        "the dense layer's final loss after a quarter of the steps; without the balance loss the "
        "error is half as large again",
    ),
    Paper(
        "Loss-free balance, DeepSeek-V3, 2024", "TopKRouter", "test_loss_free_balance.py",
        "the bias moves the choice and no weight; loads vary less than a third as much, and the "
        "error is lower, than without balance",
        "19% below no balance (t = 2.8); a gain over the balance loss does not show: 5% above it "
        "at weight 1 (t = 0.7), 15% below it at weight 0.01, which leaves loads uneven",
    ),
    Paper(
        "DeepSeekMoE, 2024", "MoELayer", "test_fine_grained.py",
        "fine-grained and shared experts cost what coarse ones do",
        "a lower error does not show over five seeds: 6% below coarse experts at two experts (t "
        "= 0.5), 27% at one (t = 2.1), 7% where languages share half of their facts (t = 2.0); the "
        "ablation does not show either: without the shared expert the error is .17 to .28, without "
        "a routed one of the same size .19 to .23 on average and .34 to .37 without the most "
        "missed, with all .06 to .10",
    ),
    Paper(
        "Merging experts into one, 2023", "MoELayer", "test_merged_experts.py",
        "a sequence of merged experts costs what one expert does; four experts merged by unit "
        "have a lower error than one",
        "error half that of one expert (t = 7.5), but 60% above that of four experts' outputs; "
        "merged by sequence 12% above these (t = 0.8) at a quarter of their cost, and 17% below "
        "one expert a sequence (t = 1.7), which does not show",
    ),
    Paper(
        "THOR, 2022", "RandomRouter, consistency_loss", "test_fixed_routing.py",
        "with consistency any expert may answer; without it experts go apart",
        AS_PUBLISHED,
    ),
    Paper(
        "Hash layers and word experts, 2021, 2023", "TokenIdRouter", "test_fixed_routing.py",
        "a table of ids recalls facts that a learned top-1 gate forgets, over five seeds",
        AS_PUBLISHED,
    ),
    Paper(
        "ST-MoE, 2022", "router_z_loss", "test_balance_losses.py",
        "scores are held down at little cost of fit, over five seeds",
        "squared log-partition function halved, error 5% higher",
    ),
    Paper(
        "Demons in the detail, 2025", "load_balancing_loss, sync_routing_stats",
        "test_balance_losses.py",
        "with micro-batches of one domain, balance over the global batch has the lower error and "
        "experts know more of domains",
        AS_PUBLISHED,
    ),
    Paper(
        "HMoE, 2024", "HeterogeneousExperts, parameter_penalty_loss", "test_balance_losses.py",
        "less than half of the parameters are used",
        "the lower loss does not show: the error rises by about a fifth",
    ),
    Paper(
        "Skywork-MoE, 2024", "AdaptiveLossCoefficient", "test_balance_losses.py",
        "the coefficient falls from its maximum under collapse to little at balance",
        "standardised scores do not show a lower error: twice that without them (t = 10), with 16 "
        "experts and a capacity of 1.25; adaptive coefficients were not trained against fixed ones",
    ),
    Paper(
        "MoE++, 2024", "ZeroExperts, CopyExperts, ConstantExperts, TopKRouter",
        "test_zero_computation.py",
        "the published experts and scores that are handed on; zero experts leave the others whole",
        "a lower loss does not show: 30% above top-2 of eight experts in two layers (t = 3.0); the "
        "gating residual alone, in four layers, 7% above (t = 1.4)",
    ),
    Paper(
        "Approximating two-layer feedforward networks (sigma-MoE), 2023",
        "TopKRouter, selection_entropy_loss", "test_sigma_moe.py",
        "a weight depends on its own score alone; all experts at saturated scores are one wide "
        "network; the loss spreads what collapses",
        "two of eight experts do not reach the dense layer of as many parameters, as published for "
        "large models: three times its error (t = 17); normalised softmax weights are ahead of "
        "sigmoid ones, by 22% (t = 4.7)",
    ),
    Paper(
        "Expert choice, 2022", "ExpertChoiceRouter", "test_expert_choice.py",
        "even loads by construction, and a lower error than top-2 with a balance loss; the scope "
        "of the batch leaks, that of the sequence does not",
        "error 19% lower (t = 4.7); of the halved training a tenth shows: 222 to 247 steps to "
        "what top-2 needs 250 for",
    ),
    Paper(
        "DSelect-k, 2021", "DSelectKRouter", "test_dselect_k.py",
        "outputs and gradients are continuous where top-k jumps; at convergence at most k experts",
        "a lower error does not show on rows: 31% above top-2 (t = 2.4); sharing by tasks was not "
        "trained against a baseline",
    ),
    Paper(
        "COMET, 2023", "COMETRouter", "test_comet.py",
        "the entropy leads to one leaf a tree; a lower error than DSelect-k's at the same entropy",
        "16% below DSelect-k (t = 2.5); not below top-2: 10% above it (t = 1.4), with 2.6 experts",
    ),
    Paper(
        "BlackMamba, 2024", "SinkhornRouter", "test_sinkhorn_routing.py",
        "loads are even in training without a balance loss",
        "a gain does not show: the error of predictions, which choose without the plan, is 47% "
        "above a sigmoid gate's without balance (t = 2.2)",
    ),
    Paper(
        "Soft MoE, 2024", "SoftRouter", "test_soft_moe.py",
        "the published formulas; cost goes with the slots, and samples are independent",
        "a gain over top-1 routing at equal cost does not show: equal errors on digits in 16 "
        "patches (t = 0.0)",
    ),
    Paper(
        "Mixture of tokens, 2024", "TokenMixingRouter", "test_token_mixing.py",
        "causal, coupled over the batch, and no expert starves where top-k starves some; a lower "
        "error than a dense layer of equal operations",
        "error 60% below the dense layer's (t = 8.6), in groups of eight; at most Switch's does "
        "not show: 3.9 times that (t = 4.9)",
    ),
    Paper(
        "Mixture of a million experts, 2024", "ProductKeyRouter, PEERLayer",
        "test_product_keys.py",
        "retrieval is exact, and a million experts are never scored one by one; a lower error "
        "than a dense layer of equal operations",
        "error 81% lower (t = 15), with 16 neurons a unit of 1,024; that nearly all neurons are "
        "used does not show: 2,400 fresh rows retrieve 54% to 64% of them after 250 steps",
    ),
    Paper(
        "Multi-head mixture of experts, 2024", "MultiHeadMoE", "test_multi_head.py",
        "at the cost of the plain layer a unit meets several times as many experts",
        "a lower loss does not show: in units of width 16 parts are too narrow, and the error is "
        "6.7 times as high (t = 28)",
    ),
    Paper(
        "SparseMixer, 2023", "SparseMixerRouter", "test_sparse_mixer.py",
        "the gradient of a sampled choice is nearer to the exact one than Switch's",
        "faster convergence does not show: after 250 steps the error is 40% higher (t = 10)",
    ),
    Paper(
        "ReMoE, 2025", "ReLURouter", "test_relu_routing.py",
        "outputs are continuous where top-k jumps; the controller holds the number of experts",
        "a lower loss than top-k does not show: three times its error after 250 steps, most of "
        "which the controller needs to settle",
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
        "a lower loss than top-2 does not show: 76% above it (t = 9.3), with 1.5 experts",
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
        "trained from the start null experts take no work off: two true experts a unit with twice "
        "the error of top-2 (t = 6.0); fine-tuning was not compared",
    ),
    Paper(
        "SMILE, RMoE, Autonomy-of-Experts, 2022 and 2025",
        "HierarchicalRouter, RecurrentRouter, ActivationNormRouter", "test_layered_routers.py",
        "units visit few groups; late routing teaches early routers; experts that respond more "
        "are chosen more",
        "SMILE costs 15% of error against flat routing (t = 2.1); a lower loss of "
        "Autonomy-of-Experts does not show: 16% above top-2 of the same experts (t = 1.9), nor one "
        "of RMoE: 35% above top-2 in four layers (t = 1.7)",
    ),
    Paper(
        "Task-MoE, conditional MoEs, task-aware gates, 2021 and 2022",
        "TaskRouter, ConditionalRouter", "test_task_routing.py",
        "a task's experts alone are the model of that task; conditions remove interference",
        AS_PUBLISHED,
    ),
    Paper(
        "LLMoE, 2025", "CallableRouter", "test_external_gates.py",
        "a gate from texts helps where the text tells, and only there",
        AS_PUBLISHED,
    ),
    Paper(
        "NeKo, GW-MoE, StableMoE, MaskMoE, 2022 to 2024",
        "PinnedRouter, BroadcastUncertain, DistilledRouter, MaskedRouter",
        "test_wrapped_routers.py",
        "pinned experts are found without ids; uncertain choices matter less; no token changes "
        "its expert after the switch; rare tokens are learned better",
        "MaskMoE's gain over a hash table on all tokens does not show: the table is ahead by "
        "eight per cent",
    ),
    Paper(
        "Buffer overflow, stealing user prompts, 2024", "CapacityLimiter, audit_batch_dependence",
        "test_attacks.py", "the attacks succeed on vulnerable settings and fail on the defaults",
        AS_PUBLISHED,
    ),
)  # fmt: skip
