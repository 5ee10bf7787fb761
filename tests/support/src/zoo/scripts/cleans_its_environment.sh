# Leaves parents, session, group and environment behind. What marks it for the test is in its arguments.
(setsid sh -c "(env -i setsid sh -c 'trap \"\" TERM; : >$P_UP; while :; do sleep 1; done # $P_ZOO' &)" &)
sleep 1000
