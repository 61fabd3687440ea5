from tests.chaos.blows import Blows
from tests.contract.faults import PAGE, exists, page, parts
from tests.hub.running import RunningHub
from tests.stack.kubectl import Kubectl

FAULTS = [fault for faults in parts().values() for fault in faults]


def test_the_page_of_faults_is_fresh() -> None:
    assert PAGE.read_text() == page()


def test_every_test_that_is_said_to_show_a_fault_exists() -> None:
    assert [test for fault in FAULTS for test in fault.shown if not exists(test)] == []


def test_every_harm_that_is_named_is_done_by_make_chaos_and_the_other_way_round() -> None:
    kube, hub = Kubectl(program="", kubeconfig=""), RunningHub("")
    done = {*Blows(kube=kube, hub=hub, namespace="").by_name()}

    assert {harm for fault in FAULTS for harm in fault.harm} == done


def test_every_fault_is_there_once_and_shown_or_said_not_to_be() -> None:
    assert len({fault.fault for fault in FAULTS}) == len(FAULTS)
    assert [fault.fault for fault in FAULTS if not fault.shown and not fault.harm and not fault.but] == []
